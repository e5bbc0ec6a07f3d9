"""Signal 9 at any moment: committed stages stay whole, and the next run finishes by itself."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import pytest
import sqlalchemy as sa

from data_pipeline_tests.embedded.processes import await_end, postmaster_of
from data_pipeline_tests.proofs.launched import Launched
from data_pipeline_tests.proofs.project import definitions
from data_pipeline_tests.proofs.runs import BY_PROCESSES, IN_PROCESS
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

PACE = 0.05
CALLS = len(definitions.assets) - 1  # a copy of inputs calls nothing
GAP = 0.3
"""Seconds that go by at most between the call that is waited for and the signal, or a commit."""
VICTIMS = ("run", "step", "server", "all")
COMMITTING = sa.text("""
SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.mode = 'AccessExclusiveLock' AND l.granted AND c.relkind IN ('r', 'p')
    AND n.nspname IN
        ('full_raw', 'full_shop', 'full_ping', 'full_pong', 'full_landed', 'full_daily')
""")
LONG = [pytest.mark.soak, pytest.mark.timeout(7200)]
KILLS = [
    pytest.param("wheel", 4, id="wheel, 4 kills"),
    pytest.param("wheel", 60, id="wheel, 60 kills", marks=LONG),
    pytest.param("system", 60, id="system, 60 kills", marks=LONG),
]


@dataclass
class Assassin:
    """Kills runs of a world at random moments, and lets the next run finish.

    Attributes:
        world: The world.
        random: Where all choices come from.
        generation: The last one.
        kills: How many there were.
        reused: Tables that were staged when a run was killed, and not computed again.
        modules: The definitions whose runs are killed.
        job: The job that is run.
        calls: How often such a run calls code of assets.
    """

    world: World
    random: random.Random
    generation: int = 1
    kills: int = 0
    reused: int = 0
    modules: tuple[str, ...] = (IN_PROCESS, BY_PROCESSES)
    job: str = "full"
    calls: int = CALLS
    _called_before: int = 0

    def strike_until(self, wanted: int, victims: Sequence[str] = VICTIMS) -> None:
        """Kills that often, with every victim in turn."""
        self.world.pace(PACE)
        while self.kills < wanted:
            self.strike(victims[self.kills % len(victims)])

    def strike(self, victim: str) -> None:
        """Kills one run, checks what is left, and lets the next run finish."""
        module = self.modules[-1] if victim == "step" else self._choice(*self.modules)
        run = self._launch(module, by_command=self.kills % 10 == 0)
        if not self._await_moment(run):
            return
        self._kill(run, victim)
        self.world.check("always", "whole", instances=["full", "midi"])
        staged = self.world.staged()
        if victim not in ("run", "all"):
            run.finish()
            self.world.check("always", "whole")
        if self.random.random() < 0.2:
            self.generation += 1  # what was staged is of no use any more
            staged = set()
        before = len(self.world.calls())
        self.world.succeed(
            self.generation, self.job, PROOF_PACE="0", PROOF_REPLACE=self._choice("table", "rows")
        )
        called = {name for _, name in self.world.calls()[before:]}
        self.reused += len(staged - called)
        self._check_after(run)

    def _check_after(self, run: Launched) -> None:
        if run.others():  # steps of the killed run may still have been at work
            self.world.check("always", "whole", instances=["full", "midi"])
            run.await_others()
            self.world.succeed(self.generation, self.job, PROOF_PACE="0")
        self._check_finished()

    def _check_finished(self) -> None:
        self.world.check("always", "whole", "finished", generation=self.generation)
        self.world.check("always", "whole", instances=["midi"])

    def _launch(self, module: str, *, by_command: bool) -> Launched:
        self.generation += 1
        self._called_before = len(self.world.calls())
        run = self.world.launch(
            self.generation,
            self.job,
            module=module,
            by_command=by_command,
            PROOF_PACE=str(PACE),
            PROOF_REPLACE=self._choice("table", "rows"),
        )
        run.wait_until("it calls an asset", lambda: self._called() > 0)
        return run

    def _called(self) -> int:
        return len(self.world.calls()) - self._called_before

    def _await_moment(self, run: Launched) -> bool:
        """Waits for the moment to kill; False when the run has ended before."""
        for count in range(2, self.random.randint(1, self.calls) + 1):  # each may take its time
            self._await_calls(run, count)
        if self.random.random() < 0.3:
            self._await_commit(run)
        else:
            time.sleep(self.random.uniform(0, GAP))  # of no meaning: that is what this is about
        return run.is_running

    def _await_calls(self, run: Launched, count: int) -> None:
        run.wait_until(
            f"it calls {count} assets", lambda: self._called() >= count or not run.is_running
        )

    def _await_commit(self, run: Launched) -> None:
        engine = self.world.engine.execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as observer:
            while run.is_running and not observer.scalar(COMMITTING):
                time.sleep(0.001)

    def _kill(self, run: Launched, victim: str) -> None:
        if victim == "run":
            run.kill()
        elif victim == "all":
            run.kill_all()
        elif victim == "server":
            server = postmaster_of(self.world.server.data)
            server.kill()
            await_end(server)
        else:
            self._kill_step(run)
        self.kills += 1
        TALLY.kills += 1

    def _kill_step(self, run: Launched) -> None:
        callers = {pid for pid, _ in self.world.calls()}
        steps = [process for process in run.others() if process.pid in callers]
        victims = steps or run.others()
        try:
            self.random.choice(victims).kill() if victims else run.kill()
        except psutil.NoSuchProcess:
            run.kill()

    def _choice(self, *items: str) -> str:
        return self.random.choice(items)


@pytest.mark.parametrize(("own_server", "wanted"), KILLS, indirect=["own_server"])
def test_after_every_kill_stages_are_whole_and_the_next_run_finishes(
    own_server: World, wanted: int
) -> None:
    assassin = Assassin(own_server, random.Random(20_13 + wanted))
    assassin.strike_until(wanted)
    TALLY.reused_after_kills += assassin.reused
    assert assassin.reused > 0, "nothing of what was staged has ever been reused"


@pytest.mark.parametrize("wanted", [pytest.param(60, marks=LONG)], ids=["60 kills"])
def test_after_every_kill_of_a_run_of_a_plain_owner_the_next_run_finishes(
    built_on: World, wanted: int
) -> None:
    assassin = Assassin(built_on, random.Random(11 + wanted))
    assassin.strike_until(wanted, [victim for victim in VICTIMS if victim != "server"])


@pytest.mark.parametrize(
    "moment",
    ["shop/model", *(pytest.param(name, marks=LONG) for name in ("ping/forehand", "pong/score"))],
)
def test_what_was_staged_before_a_kill_is_not_computed_again(built_on: World, moment: str) -> None:
    killed = built_on.launch(2, PROOF_KILL=moment)
    assert killed.finish().killed, killed.log[-8000:]
    before = built_on.calls()
    done = [name for pid, name in before if pid == killed.pid][:-1]
    built_on.check("always", "whole")
    built_on.succeed(2)
    called = [name for _, name in built_on.calls()[len(before) :]]
    assert not set(called) & set(done)
    assert moment in called
    built_on.check("always", "whole", "finished", generation=2)


def test_what_was_staged_for_other_sources_is_dropped(built_on: World) -> None:
    assert built_on.launch(2, PROOF_KILL="pong/score").finish().killed
    built_on.succeed(3)
    built_on.check("always", "whole", "finished", generation=3)


@pytest.mark.parametrize("module", [IN_PROCESS, pytest.param(BY_PROCESSES, marks=LONG)])
def test_after_a_failure_the_stage_is_unchanged_and_the_next_run_resumes(
    built_on: World, module: str
) -> None:
    ended = built_on.launch(2, module=module, PROOF_FAIL="ping/forehand").finish()
    assert not ended.success
    built_on.check("always", "whole")
    assert built_on.rows("SELECT DISTINCT generation FROM full_ping.serve") == [(1,)]
    assert built_on.rows("SELECT DISTINCT generation FROM full_pong.backhand") == [(1,)]
    assert built_on.rows("SELECT DISTINCT generation FROM full_shop.totals") == [(2,)]
    staged = "SELECT DISTINCT generation FROM full_ping__staging.serve"
    assert built_on.rows(staged) == [(2,)]
    before = len(built_on.calls())
    built_on.succeed(2, module=module)
    assert [name for _, name in built_on.calls()[before:]] == ["ping/forehand", "pong/score"]
    built_on.check("always", "whole", "finished", generation=2)
