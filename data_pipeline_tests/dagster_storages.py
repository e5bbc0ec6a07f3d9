"""Dagster storages in files, which several processes can use: those that `dagster.yaml` names."""

import functools
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg

from data_pipeline.dagster_storage import LocalStorage


def prepare_storage(folder: Path) -> None:
    """Let a folder have a storage that knows nothing yet.

    Call it before a process starts that uses the storage: to make one takes a second there.
    """
    shutil.copytree(_pattern().name, folder, dirs_exist_ok=True)


def open_storage(folder: Path) -> dg.DagsterInstance:
    """Open the storage of a folder, or make one."""
    kept: dict[str, Any] = {
        "module": LocalStorage.__module__,
        "class": LocalStorage.__name__,
        "config": {"base_dir": str(folder)},
    }
    settings = {"telemetry": {"enabled": False}, "storage": {"custom": kept}}
    return dg.DagsterInstance.local_temp(str(folder), overrides=settings)


@functools.cache
def _pattern() -> "TemporaryDirectory[str]":
    folder = TemporaryDirectory(prefix="dagster_storage.")
    with open_storage(Path(folder.name)) as storage:
        storage.get_runs(limit=1)
        storage.all_asset_keys()
    return folder
