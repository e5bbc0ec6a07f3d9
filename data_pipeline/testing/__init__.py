"""HOW are pipelines tested? Assets on a scratch database, and tables of instances in pytest.

The pytest plugin (`plugin.py`) comes with the package: it gives the fixture `instance_table`, the
option `--instance-tables` and a mark for each instance. It loads nothing until a test asks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def materialize(
    assets: Sequence[Any],
    instance: str = "mini",
    *,
    inputs: Mapping[str, Any] | None = None,
    form: Any = None,
    resources: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
) -> dict[str, Any]:
    """Run assets in a scratch database and return what they made; SQL runs as it does in a run.

    Use it where `dg.materialize_to_memory` does not do, because an asset takes `sa.Table` or
    returns a query. All that is written lies in schemas that are gone afterwards, on the embedded
    server or on the one that the environment variable DATA_PIPELINE_TEST_URL names; the servers of
    `instances.yaml` are never asked.

    ```python
    orders = pd.DataFrame({"order_id": [1, 2], "customer_id": [7, 7], "total": [2.5, 4.0]})
    made = materialize([per_customer], inputs={"clean/orders": orders})
    assert made["report/per_customer"]["total"].tolist() == [6.5]
    ```

    Args:
        assets: The assets that run. Raw tables among them load their source, as the instance that
            `instance` copies; what it copies of them is chosen as its configuration says.
        instance: The instance that the assets run for, with its attrs.
        inputs: The tables that they read but do not make, by `stage/table`: frames, `Table(frame,
            primary_key=...)`, or any other object for a blob. One for a key of `assets` takes its
            place.
        form: In which form tables are returned; default: `pd.DataFrame`.
        resources: Further resources of the assets.
        config: A configuration file; None: the project's.

    Returns:
        Frames, and the objects of blobs, by `stage/table`.

    Raises:
        ConfigurationError: An asset reads what is neither among the assets nor the inputs.
        DatabaseError: There is no server, or it refused something.
    """
    from data_pipeline.testing.materialize_assets import run_in_scratch

    return run_in_scratch(
        assets,
        instance,
        inputs=inputs or {},
        form=form,
        resources=resources or {},
        config=config,
    )
