"""Assets of several stages, as short as tests need them."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.memo.jobs import called


def asset(
    key: str, function: Callable[..., Any], *inputs: str, version: str = "1", **options: Any
) -> dg.AssetsDefinition:
    """Gives the asset `<stage>/<table>`; inputs arrive at parameters named like their tables."""
    ins = {name.split("/")[1]: dg.AssetIn(name.split("/")) for name in inputs}
    return dg.asset(
        key=key.split("/"),
        ins=ins,
        partitions_def=INSTANCE_PARTITIONS,
        code_version=version,
        **options,
    )(function)


def constant(key: str, value: int, *inputs: str, **options: Any) -> dg.AssetsDefinition:
    """Gives an asset with the one column `v`, whose value is its code version too.

    It depends on `inputs`, and does not look at them.
    """

    def made() -> pd.DataFrame:
        called(key)
        return pd.DataFrame({"v": [value]})

    deps = [name.split("/") for name in inputs]
    return asset(key, made, version=str(value), deps=[dg.AssetKey(d) for d in deps], **options)


def failing(key: str, *inputs: str, version: str = "1") -> dg.AssetsDefinition:
    """Gives an asset whose code raises an error."""

    def broken() -> pd.DataFrame:
        called(key)
        raise ValueError("broken")

    deps = [dg.AssetKey(name.split("/")) for name in inputs]
    return asset(key, broken, version=version, deps=deps)
