"""Samples of TPC-H against the gates for samples: `python -m benchmarks.sampling` or `make bench`.

The scale is 1 unless the environment variable DATA_PIPELINE_BENCH_SCALE says otherwise; the gates
of accuracy hold at scale 1.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gates import Gate
from benchmarks.measure import own_server


def gates(folder: Path) -> Iterator[Gate]:
    """Builds TPC-H in a directory, samples it, and gives what was measured."""
    from benchmarks import sampling_accuracy, sampling_intervals, sampling_speed, sampling_structure
    from benchmarks.tpch import GROWN, MIDI_GROWN, Tpch
    from data_pipeline.database.connection import database

    tpch = Tpch.make(folder, float(os.environ.get("DATA_PIPELINE_BENCH_SCALE", "1")))
    for name in ("full", "midi", "mini"):
        tpch.run(name)
    with database(tpch.instance("full")).begin() as connection:
        yield from sampling_structure.gates(connection, tpch)
        yield from sampling_accuracy.gates(connection, tpch)
    yield from sampling_structure.unchanged_refresh(tpch)
    yield from sampling_speed.gates(tpch)
    yield from sampling_speed.refreshes(tpch)
    for name in (GROWN, MIDI_GROWN):
        tpch.run(name)
    with database(tpch.instance("full")).begin() as connection:
        yield from sampling_structure.overlap(connection, tpch)
    yield from sampling_intervals.gates(tpch.instance("full"))


def main() -> None:
    """Measures and prints, on an embedded PostgreSQL of its own."""
    started = time.monotonic()
    with own_server() as folder:
        for gate in gates(folder):
            print(gate, flush=True)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
