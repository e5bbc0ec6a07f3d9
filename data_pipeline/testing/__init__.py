"""HOW are pipelines tested? Assets on a scratch database, and tables of instances in pytest.

The pytest plugin (`plugin.py`) comes with the package: it gives the fixture `instance_table`, the
option `--instance-tables` and a mark for each instance. It loads nothing until a test asks.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_pipeline.testing.materialize_assets import materialize

__all__ = ["materialize"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from data_pipeline.testing import materialize_assets

    return getattr(materialize_assets, name)
