"""Memory that it takes to read and to write a large frame, against the frame itself."""

import json
import logging
import multiprocessing
import resource
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.gates import Gate
from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.results.origin import Origin
from data_pipeline.results.writing import Store
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.reading import fetch
from data_pipeline.store.table_properties import Properties

ROWS = 5_000_000
TABLE, SMALL = StageTable("bench", "large"), StageTable("bench", "small")
RUN = "bench_memory"
_LOG = logging.getLogger("benchmarks")


def frame(rows: int) -> pd.DataFrame:
    """Return a frame of ten columns: numbers, texts, times and truth values."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {
        f"x{n}": pd.array(random.normal(size=rows), dtype="Float64") for n in range(3)
    }
    columns |= {f"k{n}": pd.array(random.integers(0, 10**9, rows), dtype="Int64") for n in range(3)}
    names = pd.array([f"name {n}" for n in range(1000)], dtype="string")
    columns |= {f"t{n}": names.take(random.integers(0, 1000, rows)) for n in range(2)}
    seconds = random.integers(0, 10**9, rows).astype("timedelta64[s]")
    columns["day"] = np.datetime64("2020-01-01", "us") + seconds
    columns["flag"] = pd.array(random.random(rows) < 0.5, dtype="boolean")
    return pd.DataFrame(columns)


def gates(instance: Instance) -> Iterator[Gate]:
    """Measure, each in a process of its own."""
    written = _measured(_write, instance.name)
    yield Gate.within(
        "memory to write 5 M x 10, besides the frame", written["ratio"] - 1, 0, 0.5, " x"
    )
    read = _measured(_read, instance.name)
    yield Gate.within(
        "memory to read 5 M x 10 into pandas", read["ratio"], 0, 1.6, " x",
        f" ({read['peak'] / 2**20:,.0f} MB for {read['frame'] / 2**20:,.0f} MB)",
    )  # fmt: skip


def _measured(function: Callable[[str], dict[str, float]], name: str) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_in_process, args=(function, name, theirs))
    process.start()
    found: dict[str, float] = json.loads(ours.recv())
    process.join()
    return found


def _in_process(function: Callable[[str], dict[str, float]], name: str, answer: Any) -> None:
    answer.send(json.dumps(function(name)))


def _write(name: str) -> dict[str, float]:
    instance = load_configuration().instance(name)
    session = RunSession(database(instance), instance, RUN, _LOG)
    session.take([TABLE, SMALL])
    session.register({})
    store = Store(instance, _LOG)
    store.put(SMALL, frame(10), Properties(), Origin(RUN))  # imports all
    before = resident()
    data = frame(ROWS)
    forget_peak()
    store.put(TABLE, data, Properties(), Origin(RUN))
    found = _figures(data, before)
    commit_stages(session, [TABLE.stage], _LOG)
    session.close()
    return found


def _read(name: str) -> dict[str, float]:
    instance = load_configuration().instance(name)
    data, _ = fetch(instance, SMALL, pd.DataFrame, _LOG)  # imports all
    del data
    before = resident()
    forget_peak()
    data, _ = fetch(instance, TABLE, pd.DataFrame, _LOG)
    return _figures(data, before)


def _figures(data: pd.DataFrame, before: int) -> dict[str, float]:
    most, size = peak() - before, int(data.memory_usage(deep=True).sum())
    return {"ratio": most / size, "peak": most, "frame": size}


def forget_peak() -> None:
    """Let Linux begin anew with the highest resident size of this process."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def resident() -> int:
    """Return the memory that this process has in use, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def peak() -> int:
    """Return the most that this process has had in use, in bytes."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
