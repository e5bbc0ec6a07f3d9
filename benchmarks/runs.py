"""Whole runs of a hundred small tables that queries make, against plain Dagster and pipedag.

Each is a process of its own, started in turn, so start-up counts. The peers do the same SQL on the
same server. pydiverse.pipedag runs in an environment of its own, whose Python BENCH_PIPEDAG names.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from benchmarks.measure import Comparison, compare

PROJECTS = Path(__file__).parent / "projects"
SETTINGS = Path(__file__).parents[1] / "dagster.yaml"


class Runs:
    """Runs of the three systems.

    Args:
        folder: Where they keep what they know.
        url: The database.
        variables: Environment variables of the projects.
    """

    def __init__(self, folder: Path, url: str, variables: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._variables = variables or {}
        self._url = url
        self._change = 1
        self._home("ours").mkdir()
        shutil.copy(SETTINGS, self._home("ours"))
        self._home("plain").mkdir()
        self._home("plain_fast").mkdir()
        shutil.copy(SETTINGS, self._home("plain_fast"))

    def ours(self) -> None:
        """Run the pipeline as it is now."""
        self._dagster("queries", "full", self._home("ours"))

    def ours_changed(self) -> None:
        """Run it with another code of the table in the middle."""
        self._change += 1
        self.ours()

    def ours_anew(self) -> None:
        """Run all of it."""
        stages = range(int(self._variables.get("BENCH_STAGES", "1")))
        names = [f"full_queries{n}{end}" for n in stages for end in ("", "__staging", "__slots")]
        self._drop(*names, "full_catalog")
        self.ours()

    def cpu_bound(self, processes: str = "") -> None:
        """Run twenty steps of a second, one after the other or two at a time."""
        self._drop("full_cpu", "full_cpu__staging", "full_catalog", "full_cpu__slots")
        self._dagster("cpu_bound", "full", self._home("ours"), BENCH_PROCESSES=processes)

    def plain(self) -> None:
        """Run the same in plain Dagster, which has no cache."""
        self._dagster("plain", "plain", self._home("plain"))

    def plain_same_storage(self) -> None:
        """Run the same in plain Dagster, with our storage for its events."""
        self._dagster("plain", "plain", self._home("plain_fast"))

    def trivial(self) -> None:
        """Execute one op in plain Dagster, with a hundred assets loaded."""
        self._dagster("plain", "trivial", self._home("plain"))

    def pipedag(self) -> None:
        """Run the same in pipedag."""
        self._run([os.environ["BENCH_PIPEDAG"], str(PROJECTS / "pedag.py")])

    def pipedag_changed(self) -> None:
        """Run it with another code of the table in the middle."""
        self._change += 1
        self.pipedag()

    def pipedag_anew(self) -> None:
        """Run all of it."""
        self._drop("pedag", "pedag__tmp", "pipedag_metadata")
        self.pipedag()

    def _home(self, name: str) -> Path:
        return self._folder / f"dagster_{name}"

    def _dagster(self, project: str, job: str, home: Path, **variables: str) -> None:
        dagster = Path(sys.executable).with_name("dagster")
        file = str(PROJECTS / f"{project}.py")
        self._run(
            [dagster, "job", "execute", "-f", file, "-j", job], DAGSTER_HOME=str(home), **variables
        )

    def _run(self, command: list[str | Path], **variables: str) -> None:
        own = {"BENCH_URL": self._url, "BENCH_CHANGE": str(self._change)}
        environment = {**os.environ, **own, **self._variables, **variables}
        # Both have their compiled modules at hand, as where they are installed.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr[-2000:])

    def _drop(self, *schemas: str) -> None:
        import psycopg2

        with psycopg2.connect(self._url) as connection, connection.cursor() as cursor:
            for schema in schemas:
                cursor.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')


def comparisons(folder: Path, url: str, rounds: int = 3) -> Iterator[Comparison]:
    """Measures first runs, runs after one change, and runs with nothing to do."""
    runs = Runs(folder, url)

    def measured(
        name: str, ours: Callable[[], None], bare: Callable[[], None], goal: str
    ) -> Comparison:
        return compare(name, ours, bare, goal=goal, rounds=rounds)

    yield measured("first run, against plain Dagster", runs.ours_anew, runs.plain, "1.1 x")
    changed = "one of 100 changed, against a first run"
    yield measured(changed, runs.ours_changed, runs.ours_anew, "0.6 x")
    yield measured("nothing changed, against one trivial op", runs.ours, runs.trivial, "1.1 x")
    yield compare(
        "20 steps of 1 s in two processes, against one",
        lambda: runs.cpu_bound("2"),
        runs.cpu_bound,
        goal="0.65 x",
        rounds=1,
    )
    if "BENCH_PIPEDAG" not in os.environ:
        print("pipedag was not measured: BENCH_PIPEDAG names the Python of its environment")
        return
    yield measured("first run, against pipedag", runs.ours_anew, runs.pipedag_anew, "1.2 x")
    yield measured(
        "one of 100 changed, against pipedag", runs.ours_changed, runs.pipedag_changed, "< 1"
    )
    yield measured("nothing changed, against pipedag", runs.ours, runs.pipedag, "0.7 x")
