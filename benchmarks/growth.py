"""How runs grow with the number of tables: CPU seconds a table, over those of a hundred tables.

The time of the server does not count, nor does that of others on the machine.
"""

import resource
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.measure import Comparison
from benchmarks.runs import Runs

STAGES = 20
SIZES = (500, 1000, 2000)
LEAST = 100


def comparisons(folder: Path, url: str, sizes: Sequence[int] = SIZES) -> Iterator[Comparison]:
    """Measure runs of more and more tables in twenty stages, side by side and in a chain."""
    for wide in (True, False):
        shape = "side by side" if wide else "in a chain"
        least = _per_table(folder, url, LEAST, wide=wide)
        for size in sizes:
            found = _per_table(folder, url, size, wide=wide)
            for what, seconds in found.items():
                name = f"{what}, {size} tables {shape}, against {LEAST}"
                yield Comparison(name, seconds, least[what], "1.3 x")


def _per_table(folder: Path, url: str, size: int, *, wide: bool) -> dict[str, float]:
    own = folder / f"growth_{size}_{wide}"
    own.mkdir()
    variables = {
        "BENCH_TABLES": str(size),
        "BENCH_STAGES": str(STAGES),
        "BENCH_WIDE": "1" if wide else "",
    }
    runs = Runs(own, url, variables)
    kinds = {
        "first run": runs.ours_anew,
        "nothing changed": runs.ours,
        "one changed": runs.ours_changed,
    }
    return {what: _cpu(run) / size for what, run in kinds.items()}


def _cpu(run: Callable[[], None]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
