"""Measuring two things in turn, so that both meet the same noise."""

import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Comparison:
    """Median seconds of ours and of the bare thing, measured in turn."""

    name: str
    ours: float
    bare: float
    goal: str

    def __str__(self) -> str:
        return (
            f"{self.name:<58} {self.ours / self.bare:5.2f} x "
            f"({self.ours * 1000:8.1f} ms / {self.bare * 1000:8.1f} ms)   goal: {self.goal}"
        )


def compare(
    name: str, ours: Callable[[], object], bare: Callable[[], object], *, goal: str, rounds: int = 7
) -> Comparison:
    """Run both `rounds` times in turn, after once for warming up, and takes the medians."""
    ours(), bare()
    seconds: dict[Callable[[], object], list[float]] = {ours: [], bare: []}
    for number in range(rounds):
        for function in (ours, bare) if number % 2 else (bare, ours):
            started = time.perf_counter()
            function()
            seconds[function].append(time.perf_counter() - started)
    return Comparison(
        name, statistics.median(seconds[ours]), statistics.median(seconds[bare]), goal
    )


@contextmanager
def own_server() -> Iterator[Path]:
    """Return a folder in which all is measured, on an embedded PostgreSQL of its own."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.environ["DATA_PIPELINE_HOME"] = folder
        os.environ["DAGSTER_HOME"] = folder
        os.environ.pop("DATA_PIPELINE_DATABASE_URL", None)
        from data_pipeline.embedded import EmbeddedServer

        try:
            yield Path(folder)
        finally:
            EmbeddedServer(Path(folder)).stop()
