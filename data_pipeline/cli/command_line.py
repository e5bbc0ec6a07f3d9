"""The command line `data-pipeline`."""

from typing import Any

import click

from data_pipeline.cli.db import db
from data_pipeline.cli.drop import drop
from data_pipeline.cli.gc import gc
from data_pipeline.cli.instances import instances
from data_pipeline.cli.plan import plan
from data_pipeline.cli.report import report
from data_pipeline.cli.run import run
from data_pipeline.cli.why import why
from data_pipeline.errors import DataPipelineError


class _Group(click.Group):
    """A command group that shows our own errors as messages, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except DataPipelineError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def main() -> None:
    """Look after the instances of the pipeline and the embedded database."""


main.add_command(db)
main.add_command(drop)
main.add_command(gc)
main.add_command(instances)
main.add_command(plan)
main.add_command(report)
main.add_command(run)
main.add_command(why)
