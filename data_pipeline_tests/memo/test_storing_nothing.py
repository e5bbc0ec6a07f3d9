"""Assets that store nothing are up to date when their code and inputs are, like any other.

That Dagster calls no IO manager for them, and how it tells their data versions, is not documented:
see `data_pipeline/memo/other_io_managers.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.io_manager.runs import execute, rows, write
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import World, shared_storage

KINDS = "SELECT stage || '/' || name, kind FROM full_catalog.tables ORDER BY 1"


def silent(
    key: str, *deps: str, result: Callable[[], Any] = lambda: None, **options: Any
) -> dg.AssetsDefinition:
    """Gives an asset that stores nothing, and depends on others."""

    def quiet():  # type: ignore[no-untyped-def]
        called(key)
        return result()

    quiet.__annotations__ = {"return": None} if result() is None else {}
    keys = [dg.AssetKey(dep.split("/")) for dep in deps]
    return asset(key, quiet, deps=keys, **options)


def result(**facts: Any) -> Callable[[], dg.MaterializeResult]:
    return lambda: dg.MaterializeResult(**facts)


def given(version: str) -> Callable[[], dg.MaterializeResult]:
    return result(data_version=dg.DataVersion(version))


def test_a_chain_of_them_runs_once(world: World, pipeline_database: sa.Engine) -> None:
    def calls(**versions: str) -> dict[str, int]:
        world.state["versions"] = versions
        assert world.run(builder="mailing").success
        return dict(world.calls)

    assert calls() == {"t": 1, "mail": 1, "archive": 1, "report": 1}
    assert rows(pipeline_database, KINDS) == [
        ("s/mail", "none"),
        ("s/t", "table"),
        ("t/archive", "none"),
        ("t/report", "table"),
    ]
    assert calls() == {}
    # Other code may do other things, so what follows it runs too.
    assert calls(mail="2") == {"mail": 1, "archive": 1, "report": 1}
    assert calls(mail="2") == {}
    assert calls(mail="2", report="2") == {"report": 1}
    world.state["source"] = 7
    assert calls(t="2") == {"t": 1, "mail": 1, "archive": 1, "report": 1}
    assert calls(t="2") == {}


@pytest.mark.usefixtures("forkserver")
def test_a_chain_of_them_runs_once_in_several_processes(world: World, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "builder": "mailing_by_processes",
        "storage": shared_storage(tmp_path),
        "run_config": BY_PROCESSES,
    }
    assert world.run(**settings).success
    assert world.calls == {"t": 1, "mail": 1, "archive": 1, "report": 1}
    assert world.run(**settings).steps == set()


def test_a_stage_of_them_alone_needs_no_schema(world: World, pipeline_database: sa.Engine) -> None:
    def things() -> Any:
        return [silent("quiet/a"), silent("quiet/b", "quiet/a")]

    assert world.made(things).success
    assert world.made(things).steps == set()
    assert "full_quiet" not in sa.inspect(pipeline_database).get_schema_names()


@pytest.mark.parametrize("make", [lambda: None, result(), given("7")], ids=["none", "result", "7"])
def test_its_configuration_counts(world: World, make: Callable[[], Any]) -> None:
    def mail(config: Mailing) -> Any:
        called("mail")
        return make()

    mail.__annotations__["return"] = None if make() is None else dg.MaterializeResult
    things = [asset("s/mail", mail)]

    def run(to: str) -> int:
        config = {"ops": {"s__mail": {"config": {"to": to}}}}
        assert world.made(lambda: things, run_config=config).success
        return world.calls["mail"]

    assert [run("a"), run("a"), run("b"), run("b"), run("a")] == [1, 0, 1, 0, 1]


class Mailing(dg.Config):
    to: str


def test_a_data_version_that_the_code_gives_counts(world: World) -> None:
    def run(code: str, version: str) -> list[str]:
        things = [
            silent("s/load", result=given(version), version=code),
            constant("s/after", 1, "s/load"),
            silent("s/done", "s/load"),
        ]
        assert world.made(lambda: things).success
        return sorted(world.calls)

    assert run("1", "x") == ["s/after", "s/done", "s/load"]
    assert run("1", "x") == []
    assert run("2", "x") == ["s/load"]
    assert run("3", "y") == ["s/after", "s/done", "s/load"]
    assert run("3", "y") == []
    # The table that was made of it before is in its slot; what was done is done again.
    assert run("1", "x") == ["s/done", "s/load"]


@pytest.mark.parametrize("make", [lambda: None, result()], ids=["none", "result"])
def test_without_a_fingerprint_input_from_outside_is_always_new(
    world: World, make: Callable[[], Any]
) -> None:
    def things() -> Any:
        load = silent("s/load", result=make, metadata=outside_input())
        return [load, constant("s/after", 1, "s/load"), constant("s/beside", 1)]

    assert world.made(things).success
    assert world.made(things).steps == {"s__load", "s__after"}


def test_with_a_fingerprint_it_runs_when_that_changes(world: World) -> None:
    def things() -> Any:
        source = world.state["source"]
        load = silent("s/load", metadata=outside_input(lambda: source))
        return [load, constant("s/after", 1, "s/load")]

    assert world.made(things).success
    assert world.made(things).steps == set()
    world.state["source"] = 2
    assert world.made(things).steps == {"s__load", "s__after"}
    assert world.made(things).steps == set()


def test_one_that_fails_leaves_its_row_as_it_was(
    world: World, pipeline_database: sa.Engine
) -> None:
    row = "SELECT data_version, run_id FROM full_catalog.tables WHERE name = 'mail'"
    assert world.made(lambda: [silent("s/mail"), constant("s/a", 1)]).success
    before = rows(pipeline_database, row)
    assert not world.made(lambda: [failing("s/mail", version="2"), constant("s/a", 1)]).success
    assert rows(pipeline_database, row) == before
    assert world.made(lambda: [silent("s/mail"), constant("s/a", 1)]).steps == set()


def test_what_was_done_in_a_run_that_failed_is_not_done_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert not world.made(lambda: [silent("s/mail"), failing("s/z", "s/mail")]).success
    assert rows(pipeline_database, KINDS) == []
    run = world.made(lambda: [silent("s/mail"), constant("s/z", 1, "s/mail")])
    assert run.success
    assert world.calls == {"s/z": 1}
    assert rows(pipeline_database, KINDS) == [("s/mail", "none"), ("s/z", "table")]
    assert rows(pipeline_database, "SELECT name FROM full_catalog.staged") == []


def mixed(version: str, order: str) -> dg.AssetsDefinition:
    """Gives a step of two tables and two of nothing, each of `order` made from those before it."""
    names = order.split()
    outs = {
        name: dg.AssetOut(
            key=["s", name],
            code_version=version,
            dagster_type=dg.Nothing if name.startswith("n") else dg.Any,
        )
        for name in names
    }
    deps = {
        name: {dg.AssetKey(["s", other]) for other in names[:i]} for i, name in enumerate(names)
    }

    @dg.multi_asset(outs=outs, internal_asset_deps=deps, partitions_def=INSTANCE_PARTITIONS)
    def several(context: dg.AssetExecutionContext) -> Any:
        called("several")
        for name in names:
            value = None if name.startswith("n") else pd.DataFrame({"v": [1]})
            yield dg.Output(value, name)

    return several


@pytest.mark.parametrize("order", ["t n u m2", "n1 t n2 u", "n1 n2 t u", "t u n1 n2"])
def test_in_a_step_of_several_each_knows_the_versions_of_the_others(
    world: World, pipeline_database: sa.Engine, order: str
) -> None:
    for version in ("1", "2"):
        assert world.made(lambda version=version: [mixed(version, order)]).success
        assert world.calls == {"several": 1}
        assert world.made(lambda version=version: [mixed(version, order)]).steps == set()
    assert len(rows(pipeline_database, KINDS)) == 4


@pytest.mark.parametrize("first", ["nothing", "table", "blob"])
def test_what_an_asset_stored_goes_when_it_stores_nothing_any_more(
    world: World, pipeline_database: sa.Engine, tmp_path: Path, first: str
) -> None:
    def thing(kind: str, version: str) -> dg.AssetsDefinition:
        if kind == "nothing":
            return silent("s/x", version=version)
        made = {"table": pd.DataFrame({"v": [1]}), "blob": {"v": 1}}[kind]
        return asset("s/x", lambda: made, version=version)

    def there() -> tuple[bool, int]:
        [(table,)] = rows(pipeline_database, "SELECT to_regclass('full_s.x') IS NOT NULL")
        return table, len(list((tmp_path / "home" / "blobs").rglob("x.*")))

    last = "table" if first == "nothing" else "nothing"
    assert world.made(lambda: [thing(first, "1"), constant("s/a", 1)]).success
    assert there() == (first == "table", int(first == "blob"))
    for _ in range(2):
        assert world.made(lambda: [thing(last, "2"), constant("s/a", 1)]).success
    assert world.last.steps == set()
    kept = int(first == "blob")  # in its slot, whose file is the same
    assert there() == (last == "table", kept)
    assert (("s/x", "none") in rows(pipeline_database, KINDS)) == (last == "nothing")


def test_a_table_of_users_under_its_name_stays(world: World, pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database, "CREATE SCHEMA full_s", "CREATE TABLE full_s.mail AS SELECT 5 AS mine"
    )
    for version in ("1", "2"):
        things = [silent("s/mail", version=version), constant("s/a", 1)]
        assert world.made(lambda things=things: things).success
    assert rows(pipeline_database, "SELECT mine FROM full_s.mail") == [(5,)]


def test_who_wants_its_value_is_told_that_there_is_none(world: World) -> None:
    def reads(mail: pd.DataFrame) -> pd.DataFrame:
        return mail

    run = world.made(lambda: [silent("s/mail", result=result()), asset("s/a", reads, "s/mail")])
    assert not run.success
    errors = [e.step_failure_data.error for e in run.events if e.is_step_failure]
    assert "Asset `s/mail` stores nothing in instance `full`" in str(errors)


def test_a_graph_asset_of_them_runs_once(world: World) -> None:
    @dg.op(out=dg.Out(dg.Nothing))
    def first() -> None:
        called("first")

    @dg.op(ins={"after": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def second() -> None:
        called("second")

    @dg.graph_asset(key=["s", "both"], partitions_def=INSTANCE_PARTITIONS)
    def both() -> Any:
        return second(first())

    things = [both, constant("s/a", 1, "s/both")]
    assert world.made(lambda: things).success
    assert world.calls == {"first": 1, "second": 1, "s/a": 1}
    assert world.made(lambda: things).steps == set()


def test_a_check_of_it_runs_with_it(world: World) -> None:
    @dg.asset_check(asset=dg.AssetKey(["s", "mail"]), blocking=True)
    def arrived() -> dg.AssetCheckResult:
        called("check")
        return dg.AssetCheckResult(passed=True)

    for version in ("1", "2"):
        things = [silent("s/mail", version=version), constant("s/a", 1, "s/mail"), arrived]
        assert world.made(lambda things=things: things).success
        assert world.calls == {"s/mail": 1, "check": 1, "s/a": 1}
        assert world.made(lambda things=things: things).steps == set()


def test_an_input_that_is_replaced_while_it_runs_is_new(world: World) -> None:
    selection: list[dg.AssetKey] | None = None
    changes: list[int] = []

    def mail() -> None:
        if selection and not changes:
            changes.append(1)
            write("a", pd.DataFrame({"v": [3]}), code_version="1")

    def steps(version: str) -> set[str]:
        keys = [dg.AssetKey(["s", "a"])]
        things = [constant("s/a", 1), asset("t/mail", mail, version=version, deps=keys)]
        return world.made(lambda: things, selection=selection).steps

    assert steps("1") == {"s__a", "t__mail"}
    selection = [dg.AssetKey(["t", "mail"])]
    assert [steps("2"), steps("2"), steps("2")] == [{"t__mail"}, {"t__mail"}, set()]
