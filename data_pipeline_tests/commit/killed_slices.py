"""A run of the first slice of `launch/sliced.py` that is killed behind a point of its commit."""

import os
import signal
import sys
from typing import Any

from data_pipeline.cli import main
from data_pipeline.commit.slice_swap import SliceSwap
from data_pipeline.results.writing import Store

POINTS = {
    "staged": (Store, "put"),
    "begun": (SliceSwap, "begin"),
    "attached": (SliceSwap, "attach"),
    "described": (SliceSwap, "describe"),
}

if __name__ == "__main__":
    owner, name = POINTS[sys.argv[1]]
    plain = getattr(owner, name)

    def killed(*arguments: Any, **options: Any) -> Any:
        plain(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, killed)
    main(["run", "-m", "data_pipeline_tests.launch.sliced", "full", "--slices", "2026-01-01"])
