"""A run of `full` that is killed when it reads a fifth range: URL of the source, folder."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from data_pipeline.sources.ranges import postgres_page_ranges
from data_pipeline.sources.ranges.postgres_range_reads import PostgresRanges
from data_pipeline_tests.sources import shops
from data_pipeline_tests.sources.test_ranges import RANGE_BYTES

if __name__ == "__main__":
    postgres_page_ranges._RANGE_BYTES = RANGE_BYTES
    begun: list[str] = []
    read_range = PostgresRanges.load

    def load(self: PostgresRanges, name: str, *arguments: Any) -> Any:
        begun.append(name)
        if len(begun) > 4:  # four are read at once, so one has come to its end
            os.kill(os.getpid(), signal.SIGKILL)
        return read_range(self, name, *arguments)

    PostgresRanges.load = load  # type: ignore[method-assign]
    shops.run("full", sys.argv[1], Path(sys.argv[2]))
