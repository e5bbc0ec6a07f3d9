"""`eager()`: a copying instance takes new data of its source by itself."""

from datetime import timedelta

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    InputCopy,
    Stage,
    copy_filtered_inputs,
    copy_inputs,
    instance_definitions,
)

EAGER = dg.AutomationCondition.eager()
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1))


def raw() -> dg.AssetsDefinition:
    stage = Stage("r")

    @stage.table(primary_key="k", source=lambda: 1)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"k": [1, 2, 3]})

    return t


def test_new_data_of_full_are_copied_and_followed(pipeline_database: sa.Engine) -> None:
    t = raw()
    inputs = copy_filtered_inputs(
        stage="i", raw=[t], automation_condition=EAGER, freshness_policy=FRESH
    )
    stage = Stage("s", reads=inputs)

    @stage.table(automation_condition=EAGER)
    def made(t: pd.DataFrame) -> pd.DataFrame:
        return t

    definitions = instance_definitions([t, inputs, made])
    spec = definitions.resolve_assets_def(dg.AssetKey(["i", "t"])).get_asset_spec()
    assert spec.freshness_policy == FRESH
    with dg.instance_for_test() as storage:

        def due(cursor: dg.AutomationCondition[dg.AssetKey] | None = None) -> dict[str, set[str]]:
            found = dg.evaluate_automation_conditions(definitions, storage, cursor=cursor)
            cursors.append(found.cursor)
            return {
                "/".join(item.key.path): {
                    p for p in INSTANCE_PARTITIONS.get_partition_keys() if found_has(item, p)
                }
                for item in found.results
                if item.true_subset.size
            }

        def found_has(item: object, partition: str) -> bool:
            return partition in item.true_subset.expensively_compute_partition_keys()

        cursors: list[object] = []
        assert due() == {}
        storage.report_runless_asset_event(
            dg.AssetMaterialization(dg.AssetKey(["r", "t"]), partition="full")
        )
        everywhere = {"full", "midi", "mini"}
        assert due(cursors[-1]) == {"i/t": everywhere, "s/made": everywhere}
        assert due(cursors[-1]) == {}


def test_own_copies_take_them_too() -> None:
    @copy_inputs(stage="i", raw=[raw()], automation_condition=EAGER, freshness_policy=FRESH)
    def inputs(copy: InputCopy) -> dict[str, sa.Select[tuple[int]]]:
        return {}

    [spec] = inputs.specs
    assert (spec.automation_condition, spec.freshness_policy) == (EAGER, FRESH)
