"""`data-pipeline report`: prints how the sample of an instance compares with its source."""

import click


@click.command()
@click.argument("instance")
@click.option("--stage", metavar="S", help="Only the input tables of this stage.")
def report(instance: str, stage: str | None) -> None:
    """Print how the sample of INSTANCE compares with its source.

    The figures are those of the last copy; nothing is computed.
    """
    from data_pipeline.instances import load_configuration
    from data_pipeline.sampling.report.layout import sections
    from data_pipeline.sampling.report.stored import stored_reports

    chosen = load_configuration().instance(instance)
    for found in stored_reports(chosen, stage):
        failed = [figure for figure in found.figures if figure.passed is False]
        click.echo(
            f"instance {chosen.instance_id}, stage {found.stage}, {found.made}: "
            f"{len(found.figures)} figures, {len(failed)} beyond thresholds"
        )
        for section in sections(found.figures):
            if section.lines:
                click.echo(f"\n{section.title}")
                for line in section.as_text():
                    click.echo(f"  {line}")
        click.echo()
