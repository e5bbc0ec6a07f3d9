"""Which versions of an instance are found, and what is said where nothing was kept."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import View, diff, read_stage, read_table, table_properties
from data_pipeline.difference.rendering import terminal
from data_pipeline.difference.result import Difference
from data_pipeline.errors import ConfigurationError, TableNotFoundError
from data_pipeline_tests.io_manager.runs import by_hand, from_inputs, run, table_asset
from data_pipeline_tests.memo.settings import cache_slots, table_store
from data_pipeline_tests.memo.world import World


def frame(*values: float) -> pd.DataFrame:
    return pd.DataFrame({"k": range(len(values)), "v": values})


def assets(version: str = "1", *values: float, **others: Any) -> list[Any]:
    """Gives `s/t` with the values, and what else is asked for, by name."""
    made = [keyed("t", version, *values)]
    return made + [keyed(name, *given) for name, given in others.items()]


def keyed(name: str, version: str, *values: float) -> Any:
    properties = table_properties(primary_key="k")
    return table_asset(name, lambda: frame(*values), code_version=version, metadata=properties)


def statuses(found: Difference) -> dict[str, str]:
    return {table.table: table.status for table in found.tables}


def test_an_edit_and_then_a_run_without_one(world: World) -> None:
    world.made(lambda: assets("1", 1, 2, 3, u=("1", 5)))
    assert statuses(diff("full")) == {"s/t": "added", "s/u": "added"}
    world.made(lambda: assets("2", 1, 2.5, 3, u=("1", 5)))
    found = diff("full")
    assert statuses(found) == {"s/t": "changed", "s/u": "equal"}
    [column] = found.tables[0].columns
    assert (column.name, column.changed) == ("v", 1)
    assert (column.before.sum, column.after.mean) == (6, 6.5 / 3)
    world.made(lambda: assets("2", 1, 2.5, 3, u=("1", 5)))
    found = diff("full")
    assert found.is_equal  # the last run changed nothing
    assert [terminal.summary(table) for table in found.tables] == ["equal", "equal"]


def test_a_table_that_comes_out_the_same_is_equal(pipeline_database: sa.Engine) -> None:
    run(*assets("1", 1, 2))
    run(*assets("2", 1, 2))
    assert statuses(diff("full")) == {"s/t": "equal"}


def test_a_run_by_the_beginning_of_its_id(pipeline_database: sa.Engine) -> None:
    first = run(*assets("1", 1, 2, u=("1", 5)))
    run(*assets("2", 1, 3))
    found = diff(f"full@{first.run_id[:8]}", "full")
    assert statuses(found) == {"s/t": "changed", "s/u": "equal"}
    with pytest.raises(TableNotFoundError, match=f"(?s)no run of which.*{first.run_id}"):
        diff("full@00000000")
    with pytest.raises(TableNotFoundError, match="names no version: did you mean `full@previous`"):
        diff("full@previuos")


def test_what_is_staged_by_a_run_that_failed(pipeline_database: sa.Engine) -> None:
    def fails() -> pd.DataFrame:
        raise ValueError("on purpose")

    run(*assets("1", 1, 2))
    with pytest.raises(TableNotFoundError, match="Nothing is staged"):
        diff("full@staged")
    run(*assets("2", 1, 9), table_asset("z", fails), raise_on_error=False)
    found = diff("full@staged")
    assert (found.before, found.after) == ("full", "full@staged")
    assert statuses(found) == {"s/t": "changed"}
    assert read_table("full", "t", pd.DataFrame)["v"].tolist() == [1, 2]
    assert read_stage("full@staged", "s", pd.DataFrame)["t"]["v"].tolist() == [1, 9]


@pytest.mark.parametrize("slots", [0, 1])
def test_rows_replaced_in_place(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    cache_slots(slots, tmp_path, monkeypatch)
    table_store("replace: rows", tmp_path, monkeypatch)
    run(*assets("1", 1, 2))
    run(*assets("2", 1, 3))
    [table] = diff("full").tables
    if slots:
        assert (table.status, table.rows and table.rows.changed) == ("changed", 1)
    else:
        assert table.status == "not kept"
        assert (
            terminal.summary(table) == "changed, 2 -> 2 rows, but one version of these is not there"
        )
        assert table.notes == ("earlier rows are not kept (`cache_validation.cache_slots: 0`)",)
        with pytest.raises(TableNotFoundError, match="earlier rows are not kept"):
            read_table("full@previous", "s/t")


def test_rows_changed_by_hand_are_seen(pipeline_database: sa.Engine) -> None:
    run(*assets("1", 1, 2))
    run(*assets("2", 1, 2))
    by_hand(pipeline_database, "UPDATE full_s.t SET v = 7 WHERE k = 1")
    [table] = diff("full").tables
    assert table.status == "changed"
    assert table.notes == ("rows of `s/t` were changed by hand, since it was built",)


def test_what_does_not_exist_is_named(pipeline_database: sa.Engine) -> None:
    run(*assets("1", 1, 2))
    with pytest.raises(TableNotFoundError, match="Instance `midi` has no tables yet"):
        diff("full", "midi")
    with pytest.raises(ConfigurationError, match="there is no instance 'ful'"):
        diff("ful")
    with pytest.raises(ConfigurationError, match=r"no table `s/tt` in either version\. .*'s/t'"):
        diff("full", tables=["s/tt"])
    with pytest.raises(ConfigurationError, match="`full@` names no version"):
        diff("full@")
    with pytest.raises(TableNotFoundError, match=r"has no stage `nope`\. Its stages are `s`"):
        read_stage("full", "nope")


def test_a_view_is_told_by_the_tables_that_it_shows(pipeline_database: sa.Engine) -> None:
    def all_of_it(t: sa.Table) -> View:
        return View(sa.select(t))

    def some_of_it(t: sa.Table) -> View:
        return View(sa.select(t).where(t.c.k > 0))

    def itself(t: sa.Table) -> View:
        return View(t)

    views = [from_inputs("shown", all_of_it, "t"), from_inputs("same", itself, "t")]
    run(*assets("1", 1, 2), *views)
    run(*assets("2", 1, 3), *views)
    found = diff("full")
    assert statuses(found) == {"s/t": "changed", "s/shown": "view", "s/same": "view"}
    assert [table.table for table in found.differing] == ["s/t"]
    alone = {"s/shown": "not kept", "s/same": "not kept"}
    assert statuses(diff("full", tables=["shown", "same"])) == alone
    run(*assets("2", 1, 3), from_inputs("shown", some_of_it, "t"))
    assert statuses(diff("full"))["s/shown"] == "not kept"


def test_what_the_same_computation_made_again_is_not_kept(pipeline_database: sa.Engine) -> None:
    moments = iter([1.5, 2.5])
    asset = table_asset(
        "t",
        lambda: pd.DataFrame({"k": [1, 2], "made": next(moments)}),
        code_version="1",
        metadata=table_properties(primary_key="k"),
    )
    run(asset)
    run(asset, keyed("u", "1", 1))
    found = diff("full")
    assert statuses(found) == {"s/t": "not kept", "s/u": "added"}
    assert "the same computation made it again" in found.tables[0].notes[0]
