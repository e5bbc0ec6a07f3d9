"""What all assets of the project share: the generation of their data, and their pace.

The environment says how a run goes on: PROOF_GENERATION is the generation of the sources,
PROOF_PACE the seconds that every asset takes at least, PROOF_CALLS a file that notes each call with
its process. PROOF_FAIL names an asset that raises, PROOF_KILL one that ends its process (signal 9),
PROOF_HOLD one that waits until somebody writes to the named pipe beside the file of the calls. With
PROOF_OUTLIVES, steps in processes of their own do not end with their run.
"""

import faulthandler
import os
import signal
import sys
import time
from pathlib import Path

import pandas as pd

# For whoever wants to know why a process does not end.
faulthandler.register(signal.SIGUSR1, file=sys.__stderr__)

TORN = -1
"""The generation of what was made from inputs of several."""

HOLD = ".hold"
"""What the name of the pipe adds to that of the file of the calls."""

# Takes its time in the database; the text stays the same at every pace, and so does its result.
SQL_PACE = "(SELECT pg_sleep(coalesce(current_setting('proof.pace', true), '0')::float8)) AS pace"


class BrokenAssetError(Exception):
    """The code of an asset fails, as a test has asked for."""


def generation() -> int:
    """Gives the generation of the sources."""
    return int(os.environ["PROOF_GENERATION"])


def further_columns() -> list[str]:
    """Names the columns that tables with slices have besides."""
    return os.environ.get("PROOF_COLUMNS", "").split()


def called(name: str) -> None:
    """Notes that an asset's code is called, and lets happen what the environment asks for."""
    with Path(os.environ["PROOF_CALLS"]).open("a") as file:
        file.write(f"{os.getpid()} {name}\n")
    if os.environ.get("PROOF_FAIL") == name:
        raise BrokenAssetError(name)
    if os.environ.get("PROOF_KILL") == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("PROOF_HOLD") == name:
        Path(os.environ["PROOF_CALLS"] + HOLD).read_text()
    time.sleep(float(os.environ.get("PROOF_PACE", "0")))


def common_generation(*frames: pd.DataFrame) -> int:
    """Gives the one generation of all rows of all frames, or `TORN`."""
    found = {int(value) for frame in frames for value in frame["generation"].unique()}
    return found.pop() if len(found) == 1 else TORN
