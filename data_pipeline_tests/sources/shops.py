"""Sources, as short as tests need them."""

import functools
import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline import copy_filtered_inputs, database_tables, instance_definitions
from data_pipeline.sources.declared_sources import refreshing


def text(engine: sa.Engine) -> str:
    """Gives the URL of a database with its password."""
    url = engine.url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def read(url: str, folder: Path, **options: Any) -> list[dg.AssetsDefinition]:
    """Reads the catalog of a source into a folder, and gives the assets of its tables."""
    with refreshing():
        return known(url, folder, **options)


def known(url: str, folder: Path, **options: Any) -> list[dg.AssetsDefinition]:
    """Gives the assets of tables whose catalog was read before."""
    return database_tables(url, catalog=folder / "raw.source.json", **options)


def definitions(raw: list[dg.AssetsDefinition]) -> dg.Definitions:
    """Gives a pipeline that has raw tables and their input tables."""
    return instance_definitions([*raw, copy_filtered_inputs(stage="inputs", raw=raw)])


@functools.lru_cache(maxsize=1)  # a run asks for it several times
def job(name: str, url: str, folder: str, _run: str) -> dg.JobDefinition:
    return definitions(known(url, Path(folder))).resolve_job_def(name)


def run(name: str, url: str, folder: Path) -> set[str]:
    """Runs the job of an instance and gives what it made."""
    made = dg.build_reconstructable_job(__name__, "job", (name, url, str(folder), uuid.uuid4().hex))
    with dg.DagsterInstance.ephemeral() as storage, dg.execute_job(made, storage) as result:
        assert result.success
        return {
            event.asset_key.to_user_string()
            for event in result.all_events
            if event.is_step_materialization and event.asset_key
        }
