"""Dagster's storage of `dagster.yaml`: every event is there at once, for everybody, and stays."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from data_pipeline.dagster_storage import _RUNS_KEPT_OPEN, LocalEventLog
from data_pipeline_tests.patience import PATIENCE

PROJECT = Path(__file__).parents[1]


@dg.asset
def numbers() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset(deps=[numbers])
def sums() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("sum"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copy(PROJECT / "dagster.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def storage(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        yield instance


def _materialize(storage: dg.DagsterInstance) -> str:
    return dg.materialize([numbers, sums], instance=storage).run_id


def _as_dagster_does(home: Path) -> dg.DagsterInstance:
    """Open the same files by Dagster's default storage."""
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    return dg.DagsterInstance.get()


def _events(storage: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.message for entry in storage.all_logs(run_id)]


def _latest(storage: dg.DagsterInstance, asset: dg.AssetsDefinition = sums) -> dg.EventLogEntry:
    found = storage.get_latest_materialization_event(asset.key)
    assert found is not None
    return found


def _tags(storage: dg.DagsterInstance, asset: dg.AssetsDefinition) -> Mapping[str, str]:
    made = _latest(storage, asset).asset_materialization
    assert made is not None
    return made.tags or {}


def test_project_uses_it(storage: dg.DagsterInstance) -> None:
    assert isinstance(storage.event_log_storage, LocalEventLog)


def test_files_are_those_of_dagster(home: Path, storage: dg.DagsterInstance) -> None:
    run_id = _materialize(storage)
    with _as_dagster_does(home) as other:
        assert _events(other, run_id) == _events(storage, run_id)
        assert _latest(other).run_id == run_id
        later = _materialize(other)
    assert _events(storage, later)
    assert _latest(storage).run_id == later


def test_nobody_reads_migrations_of_files_that_are_set_up(
    home: Path, storage: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    _materialize(storage)
    read: list[Any] = []
    original = ScriptDirectory.from_config
    monkeypatch.setattr(
        ScriptDirectory, "from_config", lambda config: read.append(config) or original(config)
    )
    with dg.DagsterInstance.get() as later:
        run_id = _materialize(later)
    assert not read
    with _as_dagster_does(home) as other:
        assert _events(other, run_id)
    assert read


def test_input_versions_are_known(storage: dg.DagsterInstance) -> None:
    _materialize(storage)
    version = _tags(storage, numbers)["dagster/data_version"]
    assert _tags(storage, sums)["dagster/input_data_version/numbers"] == version


def test_the_row_of_an_asset_tells_its_latest_materialization(
    home: Path, storage: dg.DagsterInstance
) -> None:
    _materialize(storage)
    keys = [numbers.key, sums.key]
    sent: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        found = storage.get_asset_records(keys)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert sent
    assert not [statement for statement in sent if "latest_event" in statement]
    with _as_dagster_does(home) as other:
        assert other.get_asset_records(keys) == found


def test_a_wiped_asset_has_none_until_it_is_made_again(storage: dg.DagsterInstance) -> None:
    _materialize(storage)
    storage.wipe_assets([numbers.key])
    assert storage.get_latest_materialization_event(numbers.key) is None
    later = _materialize(storage)
    assert _latest(storage, numbers).run_id == later
    assert _latest(storage, sums).run_id == later


def test_each_event_is_there_when_the_step_goes_on(home: Path, storage: dg.DagsterInstance) -> None:
    seen: list[str] = []

    @dg.asset
    def looks(context: dg.AssetExecutionContext) -> None:
        context.log.info("before the look")
        script = (
            "import dagster as dg, sys\n"
            "from dagster._core.storage.event_log.sqlite.sqlite_event_log import "
            "SqliteEventLogStorage\n"
            "log = SqliteEventLogStorage(sys.argv[1])\n"
            "print([e.message for e in log.get_logs_for_run(sys.argv[2])])"
        )
        runs = home / "history" / "runs"
        command = [sys.executable, "-c", script, str(runs), context.run.run_id]
        seen.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert dg.materialize([looks], instance=storage).success
    assert "before the look" in seen[0]
    assert 'Started execution of step "looks"' in seen[0]


def test_killed_process_loses_no_event(home: Path, storage: dg.DagsterInstance) -> None:
    script = (
        "import dagster as dg, os, signal\n"
        "@dg.asset\n"
        "def dies(context: dg.AssetExecutionContext) -> None:\n"
        "    for n in range(20):\n"
        "        context.log.info(f'line {n}')\n"
        "    print(context.run.run_id, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "dg.materialize([dies], instance=dg.DagsterInstance.get())\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    messages = _events(storage, killed.stdout.strip())
    assert [f"line {n}" for n in range(20)] == [m for m in messages if m.startswith("line")]


def test_events_are_told_as_they_come(storage: dg.DagsterInstance) -> None:
    told: list[str] = []
    arrived = threading.Event()

    @dg.asset
    def waits(context: dg.AssetExecutionContext) -> None:
        def tell(entry: dg.EventLogEntry, cursor: str) -> None:
            told.append(entry.message)
            if entry.message == "are you there?":
                arrived.set()

        storage.watch_event_logs(context.run.run_id, None, tell)
        context.log.info("are you there?")
        assert arrived.wait(PATIENCE)
        storage.end_watch_event_logs(context.run.run_id, tell)

    assert dg.materialize([waits], instance=storage).success
    assert "are you there?" in told


def test_forked_process_opens_its_own(storage: dg.DagsterInstance) -> None:
    first = _materialize(storage)
    child = os.fork()
    if child == 0:
        try:
            _materialize(storage)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    after = _materialize(storage)
    assert len({first, after} & {run.run_id for run in storage.get_runs()}) == 2
    assert len(storage.get_runs()) == 3
    assert storage.fetch_materializations(sums.key, limit=9).records[0].run_id == after


def test_files_wiped_by_another_process_are_made_anew(
    home: Path, storage: dg.DagsterInstance
) -> None:
    _materialize(storage)
    shutil.rmtree(home / "history" / "runs")
    (home / "history" / "runs").mkdir()
    again = _materialize(storage)
    assert _events(storage, again)
    assert [r.run_id for r in storage.fetch_materializations(sums.key, limit=9).records] == [again]


def test_few_files_are_open(home: Path, storage: dg.DagsterInstance) -> None:
    runs = [_materialize(storage) for _ in range(_RUNS_KEPT_OPEN + 2)]
    assert all(_events(storage, run_id) for run_id in runs)
    links = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    # Only this storage's: other tests of the process may have left theirs to the garbage collector.
    found = [link for link in links if link.startswith(f"{home}/") and link.endswith(".db")]
    assert _RUNS_KEPT_OPEN < len(found) <= _RUNS_KEPT_OPEN + 2, found


def test_wiped_storage_is_empty_and_usable(storage: dg.DagsterInstance) -> None:
    _materialize(storage)
    storage.wipe()
    assert storage.get_latest_materialization_event(sums.key) is None
    _materialize(storage)
    assert _latest(storage)


def test_without_home_it_is_gone_with_the_process(home: Path) -> None:
    script = (
        "import dagster as dg\n"
        "from data_pipeline.dagster_storage import storage_home\n"
        "@dg.asset\n"
        "def made() -> None: ...\n"
        "storage = dg.DagsterInstance.from_config('.')\n"
        "assert dg.materialize([made], instance=storage).success\n"
        "print(storage_home())\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=home, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parent == home
    assert not Path(done.stdout.strip()).exists()


def test_what_a_run_plans_is_stored_at_once(storage: dg.DagsterInstance) -> None:
    def commits(size: int) -> int:
        @dg.multi_asset(specs=[dg.AssetSpec(f"a{number}") for number in range(size)])
        def assets():  # type: ignore[no-untyped-def]
            pass

        job = dg.Definitions([assets], jobs=[dg.define_asset_job("all")]).resolve_job_def("all")
        seen: list[sa.Connection] = []
        listener = seen.append
        sa.event.listen(sa.Engine, "commit", listener)
        try:
            run_id = storage.create_run_for_job(job).run_id
        finally:
            sa.event.remove(sa.Engine, "commit", listener)
        planned = storage.all_logs(run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
        assert len(planned) == size
        return len(seen)

    commits(1)  # what a process stores once
    assert commits(9) == commits(2)
