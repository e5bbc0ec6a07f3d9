"""`data-pipeline run`: runs whole instances from the shell, with a line for each table."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data_pipeline.embedded.home_layout import create_private

if TYPE_CHECKING:
    from dagster import JobDefinition


@click.command()
@click.argument("instances", nargs=-1, required=True)
@click.option(
    "--fresh", is_flag=True, help="Take fresh input, whatever mode the configuration says."
)
def run(instances: tuple[str, ...], fresh: bool) -> None:
    """Run the pipeline on INSTANCES, one after the other.

    Runs are recorded where `make dev` shows them.
    """
    from data_pipeline.instances import load_configuration
    from data_pipeline.instances.settings.caching import MODE_TAG

    configuration = load_configuration()
    for name in instances:
        configuration.instance(name)
    os.environ.setdefault("DAGSTER_HOME", str(dagster_home(configuration.home)))
    for name in instances:
        if not _execute(name, {MODE_TAG: "normal"} if fresh else {}):
            raise click.ClickException(
                f"The run of instance `{name}` failed; see above. What was committed before is "
                "unchanged."
            )


def dagster_home(home: Path) -> Path:
    """Return the directory of Dagster's local storage, with the project's `dagster.yaml` in it."""
    directory = home.absolute() / "dagster"
    create_private(home.absolute())
    create_private(directory)
    settings = Path(__file__).parents[2] / "dagster.yaml"
    if settings.exists():
        shutil.copyfile(settings, directory / "dagster.yaml")
    return directory


def _execute(name: str, tags: Mapping[str, str]) -> bool:
    import dagster as dg

    from data_pipeline.assembly import PROGRESS

    job = dg.build_reconstructable_job(__name__, job_of_instance.__name__, (name,))
    settings: dict[str, Any] = {"loggers": {PROGRESS: {}}}
    with (
        dg.DagsterInstance.get() as storage,
        dg.execute_job(job, storage, run_config=settings, tags=dict(tags)) as result,
    ):
        return result.success


def job_of_instance(name: str) -> "JobDefinition":
    """Return the job of an instance; Dagster finds it by this function's name."""
    from data_pipeline.definitions import defs

    return defs.resolve_job_def(name)
