"""`data-pipeline report`: prints how the sample of an instance compares with its source."""

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import ConfigurationError


@click.command()
@click.argument("instance")
@click.option("--stage", metavar="S", help="Only the input tables of this stage.")
def report(instance: str, stage: str | None) -> None:
    """Print how the sample of INSTANCE compares with its source.

    The figures are those of the last copy; nothing is computed.
    """
    from data_pipeline.sampling.report.report_text import sections
    from data_pipeline.sampling.report.stored_reports import stored_reports

    configuration = chosen_project.configuration(with_module=False)
    chosen = configuration.instance(instance)
    if chosen.sample is None:
        samples = [f"`{name}`" for name, item in configuration.instances.items() if item.sample]
        raise ConfigurationError(
            f"Instance `{instance}` is no sample, so there is nothing to compare. Samples are: "
            f"{', '.join(samples) or 'none'}."
        )
    for found in stored_reports(chosen, stage):
        failed = [figure for figure in found.figures if figure.passed is False]
        click.echo(
            f"instance {chosen.instance_id}, stage {found.stage}, {found.made}: "
            f"{len(found.figures)} figures, {len(failed)} beyond thresholds"
        )
        if not found.is_current:
            click.echo(
                f"the attrs of `{instance}` have changed since: this is about the sample as it was "
                f"made before. Build it again: {chosen.build_command}"
            )
        for section in sections(found.figures):
            if section.lines:
                click.echo(f"\n{section.title}")
                for line in section.as_text():
                    click.echo(f"  {line}")
        click.echo()
