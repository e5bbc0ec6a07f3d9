"""Samples of TPC-H against the gates for samples: `python -m benchmarks.sampling` or `make bench`.

The scale is 1 unless the environment variable DATA_PIPELINE_BENCH_SCALE says otherwise; the gates
of accuracy hold at scale 1.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gates import Gate


def gates(folder: Path) -> Iterator[Gate]:
    """Builds TPC-H in a directory, samples it, and gives what was measured."""
    from benchmarks import sampling_accuracy, sampling_intervals, sampling_speed, sampling_structure
    from benchmarks.tpch import GROWN, MIDI_GROWN, Tpch
    from data_pipeline.tables.connection import database

    tpch = Tpch.make(folder, float(os.environ.get("DATA_PIPELINE_BENCH_SCALE", "1")))
    for name in ("full", "midi", "mini"):
        tpch.run(name)
    with database(tpch.instance("full")).begin() as connection:
        yield from sampling_structure.gates(connection, tpch)
        yield from sampling_accuracy.gates(connection, tpch)
    yield from sampling_structure.unchanged_refresh(tpch)
    yield from sampling_speed.gates(tpch)
    for name in (GROWN, MIDI_GROWN):
        tpch.run(name)
    with database(tpch.instance("full")).begin() as connection:
        yield from sampling_structure.overlap(connection, tpch)
    yield from sampling_intervals.gates(tpch)


def main() -> None:
    """Measures and prints, on an embedded PostgreSQL of its own."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.environ["DATA_PIPELINE_HOME"] = folder
        os.environ["DAGSTER_HOME"] = folder
        os.environ.pop("DATA_PIPELINE_DATABASE_URL", None)
        from data_pipeline.tables.embedded import EmbeddedServer

        started = time.monotonic()
        try:
            for gate in gates(Path(folder)):
                print(gate, flush=True)
        finally:
            EmbeddedServer(Path(folder)).stop()
        print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
