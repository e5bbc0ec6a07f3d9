"""What a step costs over plain Dagster with the same SQL and storage, and what it costs to start.

The difference of a long and a short run, so start-up does not count in the cost of a step.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.runs import Runs
from data_pipeline_tests.memo.round_trips import counted

FEW, MANY = 10, 110
ROUNDS = 3


def gates(folder: Path, url: str) -> Iterator[Gate]:
    """Measure the overhead of a step, and programs that end at once."""
    for what, frames, most in (("SQL table", "", 15), ("frame", "1", 20)):
        variables = {"BENCH_FRAMES": frames}
        ours, our_cpu = _per_step(folder / f"ours_{what}", url, variables, "ours_anew")
        plain, plain_cpu = _per_step(folder / f"plain_{what}", url, variables, "plain_same_storage")
        note = f" (CPU {(our_cpu - plain_cpu) * 1000:.1f} ms; plain Dagster {plain * 1000:.1f} ms)"
        yield Gate.within(
            f"overhead of a step with a small {what}", (ours - plain) * 1000, 0, most, " ms", note
        )
    with counted(sa.make_url(url)) as (by_proxy, trips):
        address = by_proxy.render_as_string(hide_password=False)

        def sent(runs: Runs) -> tuple[float, ...]:
            before = trips.count
            runs.ours_anew()
            return (trips.count - before,)

        variables = {"DATA_PIPELINE_DATABASE_URL": address}
        (found,) = _difference(folder / "round_trips", address, variables, sent)
        what = "round trips of a step with a small SQL table"
        yield Gate.within(what, round(found, 1), 0, 8)
    yield from _starts(folder / "starts", url)


def _per_step(folder: Path, url: str, variables: Mapping[str, str], run: str) -> tuple[float, ...]:
    """Return the seconds that a step takes, and those of CPU outside of the server."""

    def seconds(runs: Runs) -> tuple[float, ...]:
        started = time.perf_counter(), _cpu()
        getattr(runs, run)()
        return time.perf_counter() - started[0], _cpu() - started[1]

    return _difference(folder, url, variables, seconds)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _difference(
    folder: Path,
    url: str,
    variables: Mapping[str, str],
    measured: Callable[[Runs], tuple[float, ...]],
) -> tuple[float, ...]:
    """Return what a step adds: the least of some rounds, the long and the short run in turn."""
    folder.mkdir()
    sizes = {}
    for size in (FEW, MANY):
        own = folder / str(size)
        own.mkdir()
        sizes[size] = Runs(own, url, {**variables, "BENCH_TABLES": str(size)})
    found: dict[int, list[tuple[float, ...]]] = {FEW: [], MANY: []}
    for _ in range(ROUNDS):
        for size, runs in sizes.items():
            found[size].append(measured(runs))
    least = {size: [min(values) for values in zip(*found[size], strict=True)] for size in found}
    pairs = zip(least[MANY], least[FEW], strict=True)
    return tuple((many - few) / (MANY - FEW) for many, few in pairs)


def _starts(folder: Path, url: str) -> Iterator[Gate]:
    folder.mkdir()
    runs = Runs(folder, url)
    runs.ours_anew()
    programs: dict[str, tuple[list[str], float]] = {
        "`import data_pipeline`": ([sys.executable, "-c", "import data_pipeline"], 0.3),
        "`data-pipeline --help`": ([_program(), "--help"], 0.3),
        "`data-pipeline plan`, 100 assets": (
            [_program(), "-m", "benchmarks.projects.queries", "plan", "full"],
            2.5,
        ),
    }
    for what, (command, most) in programs.items():
        seconds = [_seconds(command, url) for _ in range(ROUNDS + 1)]
        yield Gate.within(what, min(seconds), 0, most, " s")


def _program() -> str:
    return str(Path(sys.executable).with_name("data-pipeline"))


def _seconds(command: list[str], url: str) -> float:
    environment = {**os.environ, "BENCH_URL": url, "DATA_PIPELINE_DATABASE_URL": url}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started
