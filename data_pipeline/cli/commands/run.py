"""`data-pipeline run`: runs whole instances from the shell, with a line for each table."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data_pipeline.cli import chosen_project
from data_pipeline.cli.chosen_slices import SLICES, chosen_slices, said_of
from data_pipeline.embedded.home_layout import create_private
from data_pipeline.errors import DatabaseError, DataPipelineError
from data_pipeline.instances import project

if TYPE_CHECKING:
    import dagster as dg

    from data_pipeline.cli.chosen_slices import SliceRun

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
    from data_pipeline.instances.settings.caching_and_kept_versions import MODE_TAG

    configuration = chosen_project.configuration()
    for name in instances:
        configuration.instance(name)
    os.environ.setdefault("DAGSTER_HOME", str(dagster_home(configuration.home)))
    tags = {MODE_TAG: "normal"} if fresh else {}
    for number, name in enumerate(instances):
        if slices is None:
            if not _execute(name, tags):
                raise click.ClickException(
                    f"The run of instance `{name}` failed; see above. What was committed before is "
                    "unchanged."
                )
        elif missing := _not_made(name, slices, tags):
            options = ("--fresh",) * fresh
            again = [project.command("run", name, *options, "--slices", said_of(missing))]
            if rest := instances[number + 1 :]:
                again.append(project.command("run", *rest, *options, "--slices", slices))
            raise click.ClickException(
                f"Not made of instance `{name}`: {said_of(missing)}; see above. What was committed "
                "before is unchanged. Go on:\n" + "\n".join(again)
            )
        else:
            click.echo(f"What reads all slices: {project.command('run', name)}")


def _not_made(instance: str, slices: str, tags: Mapping[str, str]) -> Sequence["SliceRun"]:
    """Build slices of an instance, one after the other; return those that are not made.

    Slices do not read each other: when one fails, the others are built.
    """
    import dagster as dg

    with dg.DagsterInstance.get() as storage:
        found = list(chosen_slices(slices, instance, storage))
    failed: list[SliceRun] = []
    done = 0
    for number, item in enumerate(found):
        rest = [*failed, *found[number:]]
        if item.rank > done:
            if failed:
                return rest
            click.secho(f"{instance}, which puts slices together for those that follow", bold=True)
            if not _execute(instance, tags):
                return rest
        done = item.rank
        click.secho(f"{instance} {item.key} ({item.job})", bold=True)
        is_made = _execute(item.job, {**tags, **item.tags})
        if is_made is None:
            return rest
        if not is_made:
            failed.append(item)
    return failed


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


def _execute(name: str, tags: Mapping[str, str]) -> bool | None:
    """Execute a job; return whether it succeeded, and None where others would not either.

    That is, when neither a step nor a commit failed: no server is there, or Ctrl-C was pressed.
    """
    import dagster as dg

    from data_pipeline.memo.terminal_progress import PROGRESS

    job = chosen_project.reconstructable_job(name)
    settings: dict[str, Any] = {"loggers": {PROGRESS: {}}}
    try:
        with (
            dg.DagsterInstance.get() as storage,
            dg.execute_job(job, storage, run_config=settings, tags=dict(tags)) as result,
        ):
            return result.success or (False if _has_failed_by_itself(result) else None)
    except dg.DagsterError as error:
        # A resource did not start: no server, say. The lines of the run have told why.
        if isinstance(error.__cause__, DataPipelineError):
            return None
        raise


def _has_failed_by_itself(result: "dg.JobExecutionResult") -> bool:
    data = result.get_run_failure_event().job_failure_data
    if data.failure_reason is not None and data.failure_reason.value == "STEP_FAILURE":
        return True
    return data.error is not None and data.error.cls_name == DatabaseError.__name__
