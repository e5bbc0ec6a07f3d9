"""Tables with slices get other columns: by kept slices and a drop, also where runs are killed."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline_tests.proofs.runs import SHORT
from data_pipeline_tests.proofs.test_histories import SLICED, Histories, machines
from data_pipeline_tests.proofs.world import World

DAYS = (1, 2)


@pytest.mark.soak
@pytest.mark.parametrize("kills", [False, True])
def test_all_slices_get_other_columns_and_no_reader_sees_a_mix(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path: Path, *, kills: bool
) -> None:
    with machines(server_url, superuser_url, tmp_path) as machine:
        history = machine()
        history.begin()
        for day in DAYS:
            history.build_slice(day, new=False)
        for columns in ("a", "a b", "b"):
            change(history, columns, kills=kills)
        history.teardown()


def change(history: Histories, columns: str, *, kills: bool) -> None:
    """Build the slices with other columns as far as that goes, drop the tables, and finish them."""
    world = history.world
    world.more["PROOF_COLUMNS"] = columns
    history.generation += 1
    if kills:
        history._kill("day_1", SLICED[0], "table")
    for day in DAYS:
        ended = world.run_here(history.generation, f"day_{day}")
        assert not ended.success
        assert f"Slice `{SLICED[0]}@2026-01-0{day}` does not fit the other slices" in ended.log
        assert "full --slices 2026-01-01..2026-01-02" in ended.log
        history.invariants_hold()
        history.tables_hold_what_they_must()
    for table in SLICED:
        drop(world, table)
        world.check("always")
    history.slices.clear()
    if kills:
        history._kill("day_2", SLICED[1], "table")
        world.check("always")
    before = len(world.calls())
    for day in DAYS:
        history.build_slice(day, new=False)
        history.invariants_hold()
    assert SLICED[0] not in {name for _, name in world.calls()[before:]}, "it was kept"
    history.tables_hold_what_they_must()
    world.check("always", "finished")
    for table in SLICED:
        found = world.rows(f"SELECT * FROM full_{table.replace('/', '.')}")
        assert {len(row) for row in found} == {3 + len(columns.split())}


def drop(world: World, table: str) -> None:
    """Drop a table with its slices, as the message says."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.environment(0).items():
            patch.setenv(name, value)
        ended = CliRunner().invoke(main, ["drop", "-m", SHORT, "full", "--table", table, "--yes"])
        assert ended.exit_code == 0, ended.output
