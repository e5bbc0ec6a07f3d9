"""Runs benchmarks on an embedded PostgreSQL of their own: `make bench`, or some by their names.

Each prints its lines, with what was to be reached, and then how long it has taken itself.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.measure import own_server

PARTS = (
    "transfer",
    "memory",
    "steps",
    "runs",
    "overhead",
    "growth",
    "commit",
    "in_place",
    "increments",
    "difference",
    "content",
    "caching",
    "sources",
    "sampling",
)
"""The modules, in the order in which they are run."""


def main(names: list[str]) -> None:
    """Measures and prints.

    Args:
        names: The modules to run; none: all.
    """
    if unknown := sorted(set(names) - set(PARTS)):
        sys.exit(f"No benchmark is called {', '.join(unknown)}; there are {', '.join(PARTS)}.")
    with own_server() as folder:
        parts = _parts(folder)
        print(f"{os.cpu_count()} cores, Python {platform.python_version()}; medians, ours / bare")
        for name in names or PARTS:
            started = time.monotonic()
            for line in parts[name]():
                print(line, flush=True)
            print(f"-- {name}: {time.monotonic() - started:.0f} s", flush=True)


def _parts(folder: Path) -> dict[str, Callable[[], Iterable[object]]]:
    from benchmarks import (
        caching,
        commit,
        content,
        difference,
        growth,
        in_place,
        increments,
        memory,
        overhead,
        runs,
        sampling,
        sources,
        steps,
        transfer,
    )
    from data_pipeline.embedded import EmbeddedServer
    from data_pipeline.instances import load_configuration

    url = EmbeddedServer(folder).start().render_as_string(hide_password=False)
    instance = load_configuration().instance("full")
    return {
        "transfer": lambda: transfer.comparisons(instance),
        "memory": lambda: memory.gates(instance),
        "steps": lambda: [steps.per_step()],
        "runs": lambda: runs.comparisons(folder, url),
        "overhead": lambda: overhead.gates(folder, url),
        "growth": lambda: growth.comparisons(folder, url),
        "commit": lambda: commit.comparisons(instance),
        "in_place": lambda: in_place.comparisons(instance),
        "increments": lambda: increments.comparisons(instance),
        "difference": lambda: difference.comparisons(instance),
        "content": lambda: content.comparisons(instance),
        "caching": caching.comparisons,
        "sources": lambda: sources.measured(folder),
        "sampling": lambda: sampling.gates(folder),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
