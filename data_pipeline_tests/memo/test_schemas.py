"""A schema in an annotation is code: what it says of rows and columns counts."""

from typing import Any

import dagster as dg
import dataframely as dy
import pandera.pandas as pandera
import pandera.typing as typed
import polars as pl
import pytest

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World


class Loose(dy.Schema):
    v = dy.Int64(nullable=True)


class Strict(dy.Schema):
    v = dy.Int64(primary_key=True)


class Free(pandera.DataFrameModel):
    v: int


class Bound(pandera.DataFrameModel):
    v: int = pandera.Field(ge=0)


def returning(kind: Any) -> dg.AssetsDefinition:
    def t():  # type: ignore[no-untyped-def]
        called("t")
        frame = pl.DataFrame({"v": [1]})
        return frame.to_pandas() if "pandera" in str(kind) else frame

    t.__annotations__["return"] = kind
    return dg.asset(key=["s", "t"], partitions_def=INSTANCE_PARTITIONS)(t)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (dy.DataFrame[Loose], dy.DataFrame[Strict]),
        (typed.DataFrame[Free], typed.DataFrame[Bound]),
    ],
)
def test_a_changed_schema_is_changed_code(world: World, before: Any, after: Any) -> None:
    first, second = returning(before), returning(after)
    assert world.made(lambda: [first]).steps == {"s__t"}
    assert world.made(lambda: [first]).steps == set()
    assert world.made(lambda: [second]).steps == {"s__t"}
    assert world.made(lambda: [second]).steps == set()
