"""Random histories of runs, failures, kills and what users do keep the invariants."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from data_pipeline.store.blobs import blob_files
from data_pipeline_tests.proofs.runs import SHORT, Outcome
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

INPUTS = {
    "raw/source": (),
    "left/frame": ("raw/source",),
    "left/query": ("raw/source",),
    "right/both": ("left/frame", "left/query"),
    "right/model": ("left/frame",),
}
STAGES = ("raw", "left", "right")
SLICED = ("landed/sales", "daily/doubled")
TABLES = tuple(name for name in INPUTS if name != "right/model")
Generations = tuple[int, int]
"""The oldest and the newest generation of what a table was made from."""

assets = st.sampled_from(tuple(INPUTS))
tables = st.sampled_from(TABLES)
ways = st.sampled_from(("table", "rows"))
days = st.sampled_from((1, 2))
sliced = st.sampled_from(SLICED)
LONG = 60
EXAMPLES = [
    pytest.param(2, 8, id="2 histories"),
    pytest.param(LONG, 20, id="60 histories", marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
]


class Histories(RuleBasedStateMachine):
    """What happens to a world, and what its tables must hold afterwards.

    `expected` gives the generations of every table (None: dropped by hand), `finished` the assets
    that the last run finished without committing them. Each run replaces tables, or their rows.
    `slices` gives the generation of each slice, `broken` the days whose last run was.
    """

    make_world: Callable[[], World]
    superuser: sa.Engine

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).make_world()
        self.reader = f"reader_{uuid.uuid4().hex[:12]}"
        self.generation = 1
        self.expected: dict[str, Generations | None] = {}
        self.finished: set[str] = set()
        self.slices: dict[tuple[str, int], int | None] = {}
        self.broken: set[int] = set()

    @initialize()
    def begin(self) -> None:
        TALLY.histories += 1
        self._succeed()
        with self.superuser.begin() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {self.reader}")
        self.world.execute("""
            CREATE SCHEMA reports;
            CREATE TABLE reports.expected (kind text, name text, reader text, text text);
        """)

    @rule(new=st.booleans(), way=ways)
    def run(self, *, new: bool, way: str = "table") -> None:
        resumed = set() if new else self.finished
        before = len(self.world.calls())
        self._succeed(new=new, way=way)
        called = {name for _, name in self.world.calls()[before:]}
        for day in sorted(self.broken):
            self.build_slice(day, new=False)
        assert not called & resumed, f"{called & resumed} had been staged"
        self.world.check("always", "finished")

    @rule(selection=st.sets(assets, min_size=1), new=st.booleans(), way=ways)
    def run_a_part(self, selection: set[str], *, new: bool, way: str) -> None:
        self._succeed(self._with_what_is_missing(selection), new=new, way=way)

    @rule(asset=assets, way=ways)
    def fail(self, asset: str, way: str) -> None:
        before = len(self.world.calls())
        self.generation += 1
        ended = self.world.run_here(self.generation, PROOF_FAIL=asset, PROOF_REPLACE=way)
        assert not ended.success
        assert f"BrokenAssetError: {asset}" in ended.log
        self._note_broken_run(asset, before)

    @rule(asset=assets, way=ways)
    def kill(self, asset: str, way: str = "table") -> None:
        before = len(self.world.calls())
        self.generation += 1
        self._kill("full", asset, way)
        self._note_broken_run(asset, before)

    @rule(table=tables)
    def drop(self, table: str) -> None:
        if self.expected[table] is None:
            return
        self.world.execute(f"DROP TABLE full_{table.replace('/', '.')} CASCADE")
        self._forget_grants(table)
        self.expected[table] = None
        self.finished = set()

    @rule(day=days, new=st.booleans(), way=ways)
    def build_slice(self, day: int, *, new: bool, way: str = "table") -> None:
        self.generation += new
        self.finished = self.finished if not new else set()
        ended = self.world.run_here(self.generation, f"day_{day}", PROOF_REPLACE=way)
        assert ended.success, ended.log[-8000:]
        self.slices |= {(table, day): self.generation for table in SLICED}
        self.broken.discard(day)

    @rule(day=days, asset=sliced, kills=st.booleans(), way=ways)
    def break_slice(self, day: int, asset: str, way: str, *, kills: bool) -> None:
        self.generation += 1
        self.finished = set()
        if kills:
            self._kill(f"day_{day}", asset, way)
        else:
            settings = {"PROOF_FAIL": asset, "PROOF_REPLACE": way}
            assert not self.world.run_here(self.generation, f"day_{day}", **settings).success
        self.broken.add(day)
        if asset == SLICED[1]:
            self.slices[SLICED[0], day] = self.generation

    @rule(day=days, table=sliced)
    def drop_slice(self, day: int, table: str) -> None:
        if self.slices.get((table, day)) is not None:
            stage, name = table.split("/")
            self.world.execute(f'DROP TABLE full_{stage}."{name}@2026-01-0{day}"')
            self.slices[table, day] = None

    @precondition(lambda self: self.expected.get("right/model"))
    @rule()
    def delete_blob(self) -> None:
        shutil.rmtree(blob_files.directory(self.world.instance("full")), ignore_errors=True)
        self.expected["right/model"] = None
        self.finished = set()

    @rule(table=tables, grants=st.booleans())
    def change_grants(self, table: str, *, grants: bool) -> None:
        if self.expected[table] is None:
            return
        relation = f"full_{table.replace('/', '.')}"
        self._forget_grants(table)
        does = f"GRANT SELECT ON {relation} TO" if grants else f"REVOKE SELECT ON {relation} FROM"
        kind = "grant" if grants else "revoked"
        self.world.execute(f"""
            {does} {self.reader};
            INSERT INTO reports.expected VALUES ('{kind}', '{relation}', '{self.reader}', NULL);
        """)

    @invariant()
    def invariants_hold(self) -> None:
        if self.expected:
            dropped = [table for table, held in self.expected.items() if held is None]
            gone = [key for key, made in self.slices.items() if made is None]
            dropped += [f"{table}@2026-01-0{day}" for table, day in gone]
            self.world.check("always", dropped=dropped)

    @invariant()
    def tables_hold_what_they_must(self) -> None:
        for table, expected in self.expected.items():
            if expected is not None and table != "right/model":
                assert self._held(table) == expected, table
        for (table, day), made in self.slices.items():
            where = f"FROM full_{table.replace('/', '.')} WHERE day = '2026-01-0{day}'"
            found = self.world.rows(f"SELECT DISTINCT made {where}")
            assert found == ([] if made is None else [(made,)]), (table, day)

    def _succeed(
        self, selection: list[str] | None = None, *, new: bool = False, way: str = "table"
    ) -> None:
        self.generation += new
        ended = self._run(selection, way)
        assert ended.success, ended.log[-8000:]
        for table in INPUTS:
            if selection is None or table in selection:
                self.expected[table] = self._computed(table)
        self.finished = set()

    def _run(self, selection: list[str] | None, way: str) -> Outcome:
        return self.world.run_here(self.generation, selection=selection, PROOF_REPLACE=way)

    def _kill(self, job: str, asset: str, way: str) -> None:
        killed = self.world.launch(self.generation, job, PROOF_KILL=asset, PROOF_REPLACE=way)
        assert killed.finish().killed, killed.log[-8000:]
        TALLY.kills += 1

    def _computed(self, table: str) -> Generations:
        """Gives what a table holds when it is computed now."""
        inputs = [held for name in INPUTS[table] if (held := self.expected[name]) is not None]
        if not INPUTS[table]:
            return self.generation, self.generation
        return min(oldest for oldest, _ in inputs), max(newest for _, newest in inputs)

    def _with_what_is_missing(self, selection: set[str]) -> list[str]:
        """Adds the tables that must be there to compute others, but were dropped."""
        chosen = set(selection)
        for table in reversed(INPUTS):
            if table in chosen:
                chosen |= {name for name in INPUTS[table] if self.expected[name] is None}
        return [table for table in INPUTS if table in chosen]

    def _note_broken_run(self, asset: str, calls_before: int) -> None:
        """Takes note of a run of a new generation that ended at an asset.

        The stages before have been committed, if all of their tables were computed: where some were
        dropped, what is made of them may come before the others. All else is unchanged.
        """
        called = {name for _, name in self.world.calls()[calls_before:]}
        for stage in STAGES[: STAGES.index(asset.split("/")[0])]:
            members = {table for table in INPUTS if table.split("/")[0] == stage}
            if members <= called:
                self.expected |= dict.fromkeys(members, (self.generation, self.generation))
        self.finished = called - {asset}

    def _held(self, table: str) -> Generations:
        [(oldest, newest)] = self.world.rows(
            f"SELECT min(oldest), max(newest) FROM full_{table.replace('/', '.')}"
        )
        return oldest, newest

    def _forget_grants(self, table: str) -> None:
        relation = f"full_{table.replace('/', '.')}"
        self.world.execute(f"DELETE FROM reports.expected WHERE name = '{relation}'")

    def teardown(self) -> None:
        self.world.end()
        database = self.world.url.database if self.world.url else None
        owned = sa.create_engine(self.superuser.url.set(database=database), poolclass=sa.NullPool)
        with owned.begin() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {self.reader}; DROP ROLE {self.reader}")


@contextmanager
def machines(
    server_url: sa.URL,
    superuser_url: sa.URL,
    folder: Path,
    histories: type[Histories] = Histories,
    module: str = SHORT,
) -> Iterator[type[Histories]]:
    """Gives histories, each in a world in a new database; these are dropped at the end."""
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    names: list[str] = []

    def make() -> World:
        names.append(f"history_{uuid.uuid4().hex[:12]}")
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {names[-1]}")
        return World(folder / names[-1], server_url.set(database=names[-1]), module)

    superuser = sa.create_engine(superuser_url, poolclass=sa.NullPool)
    dropping = superuser.execution_options(isolation_level="AUTOCOMMIT")
    own = {"make_world": staticmethod(make), "superuser": superuser}
    try:
        yield type("HistoriesHere", (histories,), own)
    finally:
        with dropping.connect() as connection:
            for name in names:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(("examples", "steps"), EXAMPLES)
def test_every_history_keeps_the_invariants(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path: Path, examples: int, steps: int
) -> None:
    with machines(server_url, superuser_url, tmp_path) as machine:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                # A history of a few steps says enough; to find the shortest takes many minutes.
                phases=[Phase.explicit, Phase.generate],
                # In the short form always the same, so that it fails for a reason.
                derandomize=examples < LONG,
            ),
        )


def test_a_stage_waits_for_all_of_its_tables_when_what_was_dropped_comes_first(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path: Path
) -> None:
    with machines(server_url, superuser_url, tmp_path) as machine:
        history = machine()
        history.begin()
        history.drop(table="left/frame")
        history.delete_blob()
        history.kill(asset="right/model")
        assert history.finished == {"raw/source", "left/frame"}
        history.invariants_hold()
        history.tables_hold_what_they_must()
        history.run(new=False)
        history.tables_hold_what_they_must()
        history.teardown()


def test_a_broken_slice_is_finished_by_its_next_run(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path: Path
) -> None:
    with machines(server_url, superuser_url, tmp_path) as machine:
        history = machine()
        history.begin()
        history.build_slice(1, new=False)
        history.break_slice(1, SLICED[1], "table", kills=True)
        history.break_slice(2, SLICED[0], "rows", kills=False)
        history.drop_slice(1, SLICED[0])
        history.invariants_hold()
        history.tables_hold_what_they_must()
        history.run(new=False)
        history.tables_hold_what_they_must()
        history.teardown()
