"""A step sees all of its inputs as they are at one moment, whatever other runs commit meanwhile."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.io_manager.io_manager import TableIOManager
from data_pipeline.results.origin import Origin
from data_pipeline.results.writing import Store
from data_pipeline.runs import step_reads
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.table_properties import Properties
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.patience import PATIENCE

X, Y, Z = dg.AssetKey(["s", "x"]), dg.AssetKey(["s", "y"]), dg.AssetKey(["t", "z"])
BOTH = "SELECT x.v, y.v FROM full_s.x, full_s.y"


def frame(value: int) -> pd.DataFrame:
    return pd.DataFrame({"v": [value]})


def blob(value: int) -> dict[str, int]:
    return {"v": value}


def replace(make: Callable[[int], Any], value: int, log: logging.Logger) -> None:
    """Commits new `s/x` and `s/y`, both at once."""
    instance = load_configuration().instance("full")
    session = RunSession(database(instance), instance, f"run {value}", log)
    try:
        session.take([StageTable("s", "x"), StageTable("s", "y")])
        session.register({})
        for name in ("x", "y"):
            origin = Origin(session.run_id)
            Store(instance, log).put(StageTable("s", name), make(value), Properties(), origin)
        commit_stages(session, ["s"], log)
    finally:
        session.close()


class Other(logging.Handler):
    """Another run, which replaces both inputs; `start` returns when it is done, or has to wait."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self._log = logging.Logger("other", logging.INFO)
        self._log.addHandler(self)
        self._event = threading.Event()
        self._thread = threading.Thread(target=replace, args=[make, 2, self._log])
        self.messages: list[str] = []
        replace(make, 1, logging.Logger("silent"))

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        if self.messages[-1].startswith(("Waiting to commit", "Committed")):
            self._event.set()

    def start(self) -> None:
        self._thread.start()
        assert self._event.wait(PATIENCE)

    def join(self) -> None:
        self._thread.join()


class Late(dg.IOManager):
    """Loads an input when the other run has committed, or waits for those who read."""

    def __init__(self, other: Other) -> None:
        self._other = other
        self._inner = TableIOManager(load_configuration(), "full")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        raise NotImplementedError

    def load_input(self, context: dg.InputContext) -> Any:
        self._other.start()
        return self._inner.load_input(context)


def inputs() -> Iterator[dg.AssetsDefinition]:
    for key in (X, Y):

        @dg.asset(key=key, partitions_def=INSTANCE_PARTITIONS)
        def one() -> None: ...

        yield one


def materialized(other: Other, reader: Any, selection: Any) -> None:
    late = dg.IOManagerDefinition.hardcoded_io_manager(Late(other))
    dg.materialize(
        [*inputs(), *reader],
        partition_key="full",
        resources={**instance_resources("full"), "late": late},
        selection=selection,
    )
    other.join()


def loaded_by_an_asset(other: Other, kind: Any) -> list[int]:
    """Gives what an asset sees that loads `y` later than `x`."""
    seen: list[int] = []

    def z(x, y):
        seen.extend(int(max(item["v"])) if kind is pd.DataFrame else item["v"] for item in (x, y))
        return 1

    z.__annotations__ = {"x": kind, "y": kind}
    ins = {"x": dg.AssetIn(X), "y": dg.AssetIn(Y, input_manager_key="late")}
    made = dg.asset(key=Z, ins=ins, partitions_def=INSTANCE_PARTITIONS)(z)
    materialized(other, [made], [Z])
    return seen


def test_frames_are_of_one_moment(pipeline_database: sa.Engine) -> None:
    other = Other(frame)
    assert loaded_by_an_asset(other, pd.DataFrame) == [1, 1]
    # It waited for the step, said so, and committed when the step was done.
    assert "Waiting to commit stage `s`: session " in other.messages[0]
    assert " t__z`" in other.messages[0]
    assert rows(pipeline_database, BOTH) == [(2, 2)]


@pytest.mark.usefixtures("pipeline_database")
def test_blobs_are_of_one_moment() -> None:
    assert loaded_by_an_asset(Other(blob), Any) == [1, 1]


def test_references_stay_valid_and_of_one_moment(pipeline_database: sa.Engine) -> None:
    other = Other(frame)
    seen: list[Any] = []

    @dg.asset(
        key=Z,
        ins={"x": dg.AssetIn(X), "y": dg.AssetIn(Y)},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def z(x: sa.Table, y: sa.Table) -> Any:
        seen.extend(rows(pipeline_database, f"SELECT v FROM {x.fullname}")[0])
        other.start()
        seen.extend(rows(pipeline_database, f"SELECT v FROM {y.fullname}")[0])
        return sa.select(x.c.v, y.c.v.label("w"))

    materialized(other, [z], [Z])
    assert seen == [1, 1]
    assert rows(pipeline_database, "SELECT v, w FROM full_t.z") == [(1, 1)]
    assert rows(pipeline_database, BOTH) == [(2, 2)]


@pytest.mark.usefixtures("pipeline_database")
def test_checks_see_one_moment() -> None:
    other = Other(frame)
    seen: list[int] = []

    @dg.asset_check(asset=X, additional_ins={"y": dg.AssetIn(Y, input_manager_key="late")})
    def equal(x: pd.DataFrame, y: pd.DataFrame) -> dg.AssetCheckResult:
        seen.extend([int(x["v"].max()), int(y["v"].max())])
        return dg.AssetCheckResult(passed=True)

    @dg.asset(key=Z, partitions_def=INSTANCE_PARTITIONS)
    def z() -> int:  # without an asset the run would have no partition
        return 1

    selection = dg.AssetSelection.checks(equal) | dg.AssetSelection.assets(Z)
    materialized(other, [equal, z], selection)
    assert seen == [1, 1]


def test_a_step_with_all_inputs_in_memory_keeps_nobody_waiting(
    pipeline_database: sa.Engine,
) -> None:
    other = Other(frame)

    @dg.asset(key=Z, ins={"x": dg.AssetIn(X)}, partitions_def=INSTANCE_PARTITIONS)
    def z(x: pd.DataFrame) -> pd.DataFrame:
        other.start()
        other.join()  # it need not wait for the end of this step
        assert rows(pipeline_database, BOTH) == [(2, 2)]
        return x

    materialized(other, [z], [Z])
    assert rows(pipeline_database, "SELECT v FROM full_t.z") == [(1,)]


def test_no_lock_is_left_behind(pipeline_database: sa.Engine) -> None:
    loaded_by_an_asset(Other(frame), pd.DataFrame)
    locks = """
        SELECT count(*) FROM pg_locks JOIN pg_class c ON c.oid = relation
        WHERE relnamespace = 'full_s'::regnamespace
    """
    assert rows(pipeline_database, locks) == [(0,)]


@pytest.mark.parametrize("form", [sa.Table, pd.DataFrame])
def test_who_needs_a_table_for_himself_and_the_step_do_not_wait_for_each_other(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch, form: type
) -> None:
    """The step's first session has locked the table, and its second one waits behind him."""
    monkeypatch.setattr(step_reads, "_SECONDS_BETWEEN_LOOKS", 0.05)
    done: list[str] = []

    def vacuum() -> None:
        with pipeline_database.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            other.exec_driver_sql(f"SET lock_timeout = '{PATIENCE}s'")
            other.exec_driver_sql("VACUUM FULL full_s.x")
            done.append("vacuum")

    begun: list[threading.Thread] = []

    def begin() -> None:
        begun.append(threading.Thread(target=vacuum))
        begun[0].start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        while rows(pipeline_database, waits) == [(0,)]:
            assert begun[0].is_alive()

    lock_all = step_reads.lock

    def lock_and_begin(*given: Any) -> Any:
        found = lock_all(*given)
        if not begun:
            begin()
        return found

    @dg.asset(key=X, partitions_def=INSTANCE_PARTITIONS)
    def x() -> sa.TextClause:
        return sa.text("SELECT 1 AS v")

    @dg.asset(key=Z, ins={"x": dg.AssetIn(X)}, partitions_def=INSTANCE_PARTITIONS)
    def z(x: form) -> Any:
        return x if form is pd.DataFrame else sa.select(x)

    resources = instance_resources("full")
    assert dg.materialize([x], partition_key="full", resources=resources).success
    monkeypatch.setattr(step_reads, "lock", lock_and_begin)
    assert dg.materialize([z, dg.AssetSpec(X)], partition_key="full", resources=resources).success
    begun[0].join()
    assert done == ["vacuum"]
    assert rows(pipeline_database, "SELECT v FROM full_t.z") == [(1,)]
