"""What the fork server loads of a project: its definitions, if copies are as good as loading anew.

A step in a process of its own would load all definitions for itself, which costs more the more
there are. A copy of a process lacks its threads, and shares its open files and connections and the
state of its random numbers. Where loading the project leaves any of these, or fails, the fork
server starts anew without it, and each step loads the project by itself.

Importing this module is what loads it, where a fork server was offered one.
"""

import gc
import logging
import os
import random
import sys
from contextlib import suppress
from pathlib import Path

from data_pipeline.database.adbc_sessions import read_types
from data_pipeline.runs.fork_server import taken_offer

_PROCESS = Path("/proc/self")


def _load() -> None:
    offer = taken_offer()
    if offer is None:
        return
    before = _not_to_copy()
    try:
        sys.path[:], sys.argv[:] = offer.path, offer.arguments
        logging.disable()  # the run and its steps say the same
        if offer.job is not None:
            job = offer.job.get_definition()
            _ = job.run_config_schema  # which is made when it is asked for
        logging.disable(logging.NOTSET)
        gc.collect()  # closes what nobody refers to
        is_left = _not_to_copy() != before
    except BaseException:
        is_left = True
    if is_left:
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - threads and connections end
    if offer.adbc_uri is not None:
        with suppress(Exception):  # a step says what it is
            read_types(offer.adbc_uri)
    gc.freeze()  # copies share these objects as long as no collection walks through them
    if numpy := sys.modules.get("numpy.random"):
        os.register_at_fork(after_in_child=numpy.seed)  # as Python does with its own


def _not_to_copy() -> list[object]:
    """Return threads, open files and the state of random numbers."""
    files = sorted(f"{file.name} {os.readlink(file)}" for file in _open_files())
    numpy = sys.modules.get("numpy.random")
    numbers = None if numpy is None else repr(numpy.get_state())
    return [sorted(os.listdir(_PROCESS / "task")), files, random.getstate(), numbers]


def _open_files() -> list[Path]:
    """Return the open files, without the list of them itself."""
    return [file for file in (_PROCESS / "fd").iterdir() if file.is_symlink()]


_load()
