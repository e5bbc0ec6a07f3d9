"""Dagster storages in files, which several processes can use."""

import functools
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

_SETTINGS: dict[str, Any] = {"telemetry": {"enabled": False}}


def prepare_storage(folder: Path) -> None:
    """Let a folder have a storage that knows nothing yet.

    Call it before a process starts that uses the storage: to make one takes a second there.
    """
    shutil.copytree(_pattern().name, folder, dirs_exist_ok=True)


def open_storage(folder: Path) -> dg.DagsterInstance:
    """Open the storage of a folder, or make one."""
    return dg.DagsterInstance.local_temp(str(folder), overrides=_SETTINGS)


@functools.cache
def _pattern() -> "TemporaryDirectory[str]":
    folder = TemporaryDirectory(prefix="dagster_storage.")
    with open_storage(Path(folder.name)) as storage:
        storage.get_runs(limit=1)
        storage.all_asset_keys()
    return folder
