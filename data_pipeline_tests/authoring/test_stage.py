"""`Stage`: assets with one line of decorator, whose parameters are tables of other stages."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    ForeignKey,
    InstanceResource,
    Stage,
    Table,
    copy_filtered_inputs,
    instance_definitions,
    instance_resources,
    table_properties,
)
from data_pipeline.authoring.stage import resolved
from data_pipeline.code_version.code_version import code_version_of
from data_pipeline.code_version.live_code import asset_functions
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.io_manager.runs import rows

ROWS = pd.DataFrame({"number": [1, 2, 3], "other": [3, 1, 2]})


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_pipeline.authoring.stage._known", {})


def parents(asset: dg.AssetsDefinition) -> set[str]:
    return {key.to_user_string() for key in asset.keys_by_input_name.values()}


def test_a_decorator_is_an_ordinary_asset() -> None:
    stage = Stage("clean", owners=["team:data"], tags={"a": "1"}, metadata={"all": 1})

    @stage.table(
        primary_key="number",
        foreign_keys=[ForeignKey("other", "numbers", "number")],
        code_version="7",
        tags={"b": "2"},
        metadata={"own": 2},
        automation_condition=dg.AutomationCondition.eager(),
    )
    def numbers() -> pd.DataFrame:
        """Some numbers."""
        return ROWS

    spec = numbers.get_asset_spec()
    assert spec.key.path == ["clean", "numbers"]
    assert (spec.group_name, spec.partitions_def) == ("clean", INSTANCE_PARTITIONS)
    assert (spec.description, spec.code_version) == ("Some numbers.", "7")
    assert spec.owners == ["team:data"]
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.kinds == {"python", "pandas"}
    assert {"a", "b"} <= spec.tags.keys()
    keys = [ForeignKey("other", "numbers", "number")]
    declared = table_properties(primary_key="number", foreign_keys=keys)
    assert {"all": 1, "own": 2, **declared}.items() <= spec.metadata.items()


@pytest.mark.parametrize(
    ("returns", "kinds"),
    [
        (sa.TextClause, {"sql", "postgres"}),
        (sa.Select[Any], {"sql", "postgres", "sqlalchemy"}),
        (Table, {"python"}),
    ],
)
def test_annotations_tell_the_kinds(returns: Any, kinds: set[str]) -> None:
    def numbers() -> None: ...

    numbers.__annotations__["return"] = returns
    assert Stage("clean").table(numbers).get_asset_spec().kinds == kinds


def test_a_parameter_is_the_table_of_the_first_stage_that_has_it() -> None:
    raw, inputs = Stage("raw"), Stage("inputs")
    made = [raw.table(name=name)(lambda: ROWS) for name in ("a", "b")]
    made += [inputs.table(name=name)(lambda: ROWS) for name in ("b", "c")]
    clean = Stage("clean", reads=[inputs, raw])

    @clean.table
    def d() -> pd.DataFrame:
        return ROWS

    @clean.table
    def c(a: sa.Table, b: sa.Table, c: sa.Table, d: sa.Table) -> pd.DataFrame:
        return ROWS

    assert parents(c) == {"raw/a", "inputs/b", "inputs/c", "clean/d"}
    assert [parents(asset) for asset in resolved([*made, d, c])][-1] == parents(c)


def test_what_is_no_input_is_left_to_dagster() -> None:
    class Limit(dg.Config):
        rows: int = 1

    stage = Stage("clean", reads="inputs")

    @stage.table(deps=["elsewhere"], ins={"b": dg.AssetIn(key=["x", "y"]), "c": dg.AssetIn()})
    def a(
        context: dg.AssetExecutionContext,
        config: Limit,
        instance: InstanceResource,
        tool: dg.ResourceParam[str],
        b: pd.DataFrame,
        c: pd.DataFrame,
    ) -> pd.DataFrame:
        return ROWS

    assert parents(a) == {"x/y", "inputs/c", "elsewhere"}


def test_what_was_not_imported_yet_is_found_when_everything_loads() -> None:
    clean = Stage("clean", reads=["late", "later"])

    @clean.table
    def own() -> pd.DataFrame:
        return ROWS

    @clean.table
    def result(first: sa.Table, second: sa.Table, own: sa.Table) -> pd.DataFrame:
        return ROWS

    late = Stage("late").table(name="first")(lambda: ROWS)
    later = [Stage("later").table(name=name)(lambda: ROWS) for name in ("first", "second", "own")]
    *_, found = resolved([late, *later, own, result])
    assert parents(found) == {"late/first", "later/second", "later/own"}
    loaded = instance_definitions([late, *later, own, result]).resolve_asset_graph()
    assert {key.to_user_string() for key in loaded.get(result.key).parent_keys} == parents(found)


def test_a_name_that_no_stage_has_is_refused_with_the_near_ones() -> None:
    clean = Stage("clean", reads="inputs")
    other = Stage("elsewhere").table(name="airprots")(lambda: ROWS)

    @clean.table
    def airports(airprots: sa.Table) -> pd.DataFrame:
        return ROWS

    made = Stage("inputs").table(name="airports")(lambda: ROWS)
    with pytest.raises(ConfigurationError) as error:
        instance_definitions([made, other, airports])
    text = str(error.value)
    assert "`airports`" in text
    assert f"({__file__}:" in text
    assert "the parameter `airprots` is no table of inputs or clean. Near: `airports`." in text
    assert "There is `elsewhere/airprots`: add its stage to `reads`." in text


def test_an_asset_is_no_input_of_itself() -> None:
    @Stage("clean", reads="inputs").table
    def airports(airports: sa.Table) -> pd.DataFrame:
        return ROWS

    assert parents(airports) == {"inputs/airports"}
    with pytest.raises(ConfigurationError, match="`airports` is no table of inputs or clean"):
        resolved([airports])


def test_a_blob_has_no_properties_of_tables() -> None:
    with pytest.raises(ConfigurationError, match=r"blob\(primary_key=...\): a blob is no table"):
        Stage("clean").blob(primary_key="number")


def test_tables_views_and_blobs_of_a_stage_are_stored(pipeline_database: sa.Engine) -> None:
    raw = Stage("raw")

    @raw.table(primary_key="number", source=lambda: 1)
    def numbers() -> pd.DataFrame:
        return ROWS

    inputs = copy_filtered_inputs(stage="inputs", raw=[numbers])
    result = Stage("result", reads=inputs)

    @result.view
    def large(numbers: sa.Table) -> sa.Select[Any]:
        return sa.select(numbers).where(numbers.c.number > 1)

    @result.blob
    def total(large: pd.DataFrame) -> int:
        return int(large["number"].sum())

    @result.tables({"few": {"primary_key": "number"}, "many": {"kinds": {"python"}}})
    def parts(large: pd.DataFrame, total: int) -> Iterator[dg.Output[pd.DataFrame]]:
        yield dg.Output(large.head(1), "few")
        yield dg.Output(large.assign(total=total), "many")

    assets = [numbers, inputs, large, total, parts]
    dg.materialize(assets, partition_key="full", resources=instance_resources("full"))
    found = rows(pipeline_database, "SELECT number, total FROM full_result.many ORDER BY 1")
    assert found == [(2, 5), (3, 5)]
    kinds = "SELECT relname, relkind::text FROM pg_class WHERE relname IN ('large', 'few_pkey')"
    assert dict(rows(pipeline_database, kinds)) == {"large": "v", "few_pkey": "i"}
    assert large.get_asset_spec().metadata != {}


clean = Stage("clean", reads="inputs")


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame * 2


def plain(numbers: pd.DataFrame) -> pd.DataFrame:
    return doubled(numbers)


@dg.asset(key_prefix="clean")
def by_dagster(numbers: pd.DataFrame) -> pd.DataFrame:
    return doubled(numbers)


@clean.table(primary_key="number", owners=["team:data"])
def by_stage(numbers: pd.DataFrame) -> pd.DataFrame:
    return doubled(numbers)


def test_the_decorator_is_no_code_of_the_asset() -> None:
    own = f"{__name__}.by_stage"
    versions = [code_version_of(asset).parts for asset in (by_dagster, by_stage)]
    assert [version.keys() - {own, f"{__name__}.by_dagster"} for version in versions] == [
        {f"{__name__}.doubled"}
    ] * 2
    assert versions[1][own].startswith("own function")


@clean.table(write="append")
def growing(numbers: pd.DataFrame, previous: pd.DataFrame | None) -> pd.DataFrame:
    return doubled(numbers)


def test_the_rows_from_before_are_no_input_and_what_hands_them_over_is_no_code() -> None:
    assert growing.keys_by_input_name == {"numbers": dg.AssetKey(["inputs", "numbers"])}
    names = {f"{__name__}.growing", f"{__name__}.doubled"}
    assert code_version_of(growing).parts.keys() == names
    assert [f.__code__.co_filename for f in asset_functions(growing).values()] == [__file__]


def test_a_table_of_that_name_is_an_input_where_it_is_said() -> None:
    @Stage("clean").table(ins={"previous": dg.AssetIn(["inputs", "previous"])})
    def named(previous: pd.DataFrame) -> pd.DataFrame:
        return previous

    assert named.keys_by_input_name["previous"] == dg.AssetKey(["inputs", "previous"])
