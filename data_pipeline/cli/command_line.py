"""The command line `data-pipeline`."""

from typing import Any

import click

from data_pipeline.cli.chosen_project import module_option, said_by_dagster
from data_pipeline.cli.commands.db import db
from data_pipeline.cli.commands.diff import diff
from data_pipeline.cli.commands.drop import drop
from data_pipeline.cli.commands.gc import gc
from data_pipeline.cli.commands.init import init
from data_pipeline.cli.commands.instances import instances
from data_pipeline.cli.commands.plan import plan
from data_pipeline.cli.commands.relationships import relationships
from data_pipeline.cli.commands.report import report
from data_pipeline.cli.commands.run import run
from data_pipeline.cli.commands.sample import sample
from data_pipeline.cli.commands.source import source
from data_pipeline.cli.commands.why import why
from data_pipeline.errors import DataPipelineError


class _Group(click.Group):
    """A command group that shows our own errors, and Dagster's, as messages."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except DataPipelineError as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            if not type(error).__module__.startswith("dagster."):
                raise
            raise click.ClickException(said_by_dagster(error)) from error


@click.group(cls=_Group)
@click.version_option(package_name="data-pipeline", message="data-pipeline %(version)s")
def main() -> None:
    """Look after the instances of a pipeline and the embedded database.

    Commands work on the project of the current directory.
    """


def _take_module(command: click.Command) -> None:
    """Let a command and those below it take -m, but for what hands its arguments on."""
    if not command.context_settings.get("ignore_unknown_options"):
        command.params.append(module_option())
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _take_module(below)


for _command in (
    db,
    diff,
    drop,
    gc,
    instances,
    plan,
    relationships,
    report,
    run,
    sample,
    source,
    why,
):
    main.add_command(_command)
_take_module(main)
main.add_command(init)
