"""`data-pipeline plan`: what a run would do, and why."""

from typing import TYPE_CHECKING

import click

from data_pipeline.cli import chosen_project
from data_pipeline.cli.chosen_slices import SLICES, chosen_slices

if TYPE_CHECKING:
    from data_pipeline.memo.deciding.decisions import Decision
    from data_pipeline.memo.deciding.run_plan import RunPlan


@click.command()
@click.argument("instance")
@SLICES
def plan(instance: str, slices: str | None) -> None:
    """Say what a run of INSTANCE would compute and why, and what it would not.

    With --slices: what runs of slices would compute.

    Sources are asked whether they have new data; nothing is computed or written.
    """
    from data_pipeline.cli.planned_run import log_for_shell, planned, storage_of_shell
    from data_pipeline.sources.declared_sources import source_changes

    configuration = chosen_project.configuration()
    configuration.instance(instance)
    log = log_for_shell()
    if slices is None:
        _tell(planned(configuration, instance, log), instance)
        if configuration.instance(instance).source is None:
            for line in source_changes(chosen_project.asset_specs()):
                click.echo(line)
        return
    storage = storage_of_shell(configuration.home)
    for item in chosen_slices(slices, instance, storage):
        click.secho(f"{instance} {item.key} ({item.job})", bold=True)
        _tell(planned(configuration, instance, log, item), instance)


def _tell(found: "RunPlan", instance: str) -> None:
    from data_pipeline.memo.deciding.decisions import Action

    decisions = found.decisions().values()
    restored = found.restorable()
    found.close()
    for title, chosen in (
        ("would run", [d for d in decisions if d.action is Action.RUN and d.step not in restored]),
        ("would be swapped back in", [d for d in decisions if d.step in restored]),
        ("may run", [d for d in decisions if d.action is Action.WAIT]),
        ("would not be run", [d for d in decisions if d.action is Action.SKIP]),
        ("up to date", [d for d in decisions if d.action is Action.REUSE]),
    ):
        if chosen:
            click.echo(f"{title} ({len(chosen)}):")
        for decision in chosen:
            click.echo(f"  {_in_short(decision)}")
    if (line := found.not_taken) is not None:
        click.echo(line)
    if (line := found.made_elsewhere) is not None:
        click.echo(line)
    if (refused := found.refused) is not None:
        click.echo(f"a run would end before its first step: {refused}")
    if text := str(found.orphans()):
        click.echo(f"no asset makes any more: {text}")
    if (line := found.left_to_slices) is not None:
        click.echo(line)
    if found.left_out:
        click.echo(f"left out ({len(found.left_out)}), raw tables that `{instance}` does not load:")
        click.echo(f"  {', '.join(found.left_out)}")


def _in_short(decision: "Decision") -> str:
    """Return a decision in one line, however many tables the step makes."""
    from data_pipeline.database.identifiers import few

    reasons = list(dict.fromkeys(decision.reasons))
    return f"{decision.step}: {few(reasons, separator='; ')}"
