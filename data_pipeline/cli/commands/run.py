"""`data-pipeline run`: runs whole instances from the shell, with a line for each table."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from data_pipeline.cli import chosen_project
from data_pipeline.cli.chosen_slices import SLICES, chosen_slices
from data_pipeline.embedded.home_layout import create_private
from data_pipeline.errors import DataPipelineError
from data_pipeline.instances import project

_SETTINGS = """\
telemetry: {enabled: false}
storage:
  custom:
    module: data_pipeline.dagster_storage
    class: LocalStorage
"""


@click.command()
@click.argument("instances", nargs=-1, required=True)
@click.option(
    "--fresh", is_flag=True, help="Take fresh input, whatever mode the configuration says."
)
@SLICES
def run(instances: tuple[str, ...], fresh: bool, slices: str | None) -> None:
    """Run the pipeline on INSTANCES, one after the other.

    With --slices: build slices of the tables that have some, one after the other.

    Runs are recorded where `make dev` (or `dagster dev` with DAGSTER_HOME there) shows them.
    """
    from data_pipeline.instances.settings.caching import MODE_TAG

    configuration = chosen_project.configuration()
    for name in instances:
        configuration.instance(name)
    os.environ.setdefault("DAGSTER_HOME", str(dagster_home(configuration.home)))
    tags = {MODE_TAG: "normal"} if fresh else {}
    for name in instances:
        for job, of_slice in _runs(name, slices):
            if not _execute(job, {**tags, **of_slice}):
                raise click.ClickException(
                    f"The run of instance `{name}` failed; see above. What was committed before is "
                    "unchanged."
                )
        if slices is not None:
            click.echo(f"What reads all slices: {project.command('run', name)}")


def _runs(instance: str, slices: str | None) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Return the runs for an instance: each with its job, and the tags that say its slice."""
    import dagster as dg

    if slices is None:
        yield instance, {}
        return
    with dg.DagsterInstance.get() as storage:
        found = list(chosen_slices(slices, instance, storage))
    done = 0
    for item in found:
        if item.rank > done:
            click.secho(f"{instance}, which puts slices together for those that follow", bold=True)
            yield instance, {}
        done = item.rank
        click.secho(f"{instance} {item.key} ({item.job})", bold=True)
        yield item.job, item.tags


def dagster_home(home: Path) -> Path:
    """Return the directory of Dagster's local storage, with a `dagster.yaml` in it.

    That is the project's, also from its folder `settings`; one without gets the fast storage alone.
    """
    directory = home.absolute() / "dagster"
    create_private(home.absolute())
    create_private(directory)
    root = project.root() or Path.cwd()
    places = (root / "dagster.yaml", root / "settings" / "dagster.yaml")
    if (settings := next((file for file in places if file.is_file()), None)) is not None:
        shutil.copyfile(settings, directory / "dagster.yaml")
    elif not (directory / "dagster.yaml").exists():
        (directory / "dagster.yaml").write_text(_SETTINGS)
    return directory


def _execute(name: str, tags: Mapping[str, str]) -> bool:
    import dagster as dg

    from data_pipeline.assembly import PROGRESS

    job = chosen_project.reconstructable_job(name)
    settings: dict[str, Any] = {"loggers": {PROGRESS: {}}}
    try:
        with (
            dg.DagsterInstance.get() as storage,
            dg.execute_job(job, storage, run_config=settings, tags=dict(tags)) as result,
        ):
            return result.success
    except dg.DagsterError as error:
        # A resource did not start: no server, say. The lines of the run have told why.
        if isinstance(error.__cause__, DataPipelineError):
            return False
        raise
