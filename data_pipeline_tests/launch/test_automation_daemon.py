"""`eager()` with the daemon: new data of full reach the instances that copy it by themselves."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from data_pipeline_tests.launch import eager
from data_pipeline_tests.launch.conftest import Databases, place
from data_pipeline_tests.launch.processes import CHECKOUT, services, succeed
from data_pipeline_tests.launch.web_ui import workspace_of

BUILT = "SELECT to_regclass('{0}_eager_clean.doubled') IS NOT NULL"


@pytest.mark.soak
def test_the_daemon_copies_what_full_has_loaded(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(CHECKOUT / "dagster.yaml", tmp_path)
    workspace = workspace_of(eager, tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with (
        databases() as url,
        dg.DagsterInstance.get() as storage,
        services(tmp_path / "logs") as group,
    ):
        made = place(url, tmp_path / "home")
        env = {**made.env, "DAGSTER_HOME": str(tmp_path)}

        def has_looked() -> bool:
            states = storage.all_instigator_state()
            return any(getattr(state.instigator_data, "cursor", None) for state in states)

        def are_built() -> bool:
            return all(made.rows(BUILT.format(name)) == [(True,)] for name in ("midi", "mini"))

        command = ["dagster-daemon", "run", "--workspace", str(workspace)]
        group.start("daemon", command, env=env, cwd=CHECKOUT)
        group.wait_for("a first look at the assets", has_looked)
        succeed("dagster", "job", "execute", "-m", eager.__name__, "-j", "full", env=env)
        group.wait_for("midi and mini", are_built)
        rows = made.rows("SELECT k FROM midi_eager_clean.doubled ORDER BY k")
        assert rows == [(0,), (2,)]
