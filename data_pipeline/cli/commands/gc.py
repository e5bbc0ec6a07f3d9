"""`data-pipeline gc`: drop what is kept for later, and what no asset makes any more."""

from typing import TYPE_CHECKING

import click

from data_pipeline.cli import chosen_project
from data_pipeline.instances import project

if TYPE_CHECKING:
    from data_pipeline.drop.inventory import DropSelection
    from data_pipeline.instances import Instance


@click.command()
@click.argument("instances", nargs=-1)
@click.option("--orphans", is_flag=True, help="Drop what no asset makes any more, instead.")
@click.option("--slices", is_flag=True, help="Drop slices whose keys are gone, instead.")
@click.option("--yes", is_flag=True, help="Drop these; otherwise they are only listed.")
@click.option("--force", is_flag=True, help="Drop them with views and the like built on them.")
def gc(instances: tuple[str, ...], orphans: bool, slices: bool, yes: bool, force: bool) -> None:
    """Drop the earlier versions that are kept in cache slots, of all instances or of INSTANCES.

    With --orphans: tables and blobs that no asset makes any more, if this code made them. With
    --slices: slices whose keys the partitions of their assets do not have any more.
    """
    configuration = chosen_project.configuration(with_module=orphans or slices)
    names = instances or tuple(configuration.instances)
    if slices:
        for name in names:
            _drop_slices(configuration.instance(name), yes=yes, force=force)
        return
    if orphans:
        # What copies goes before what it copies from.
        for name in sorted(names, key=lambda name: -configuration.instance(name).copies_over):
            _drop_orphans(configuration.instance(name), yes=yes, force=force)
        return
    for name in names:
        count, size, used = _collect(configuration.instance(name))
        click.echo(f"{name}: dropped {count} kept version(s), {size:,} bytes")
        if used:
            click.echo(f"{name}: kept, since others use them: {', '.join(used)}")


def _drop_slices(instance: "Instance", *, yes: bool, force: bool) -> None:
    """Drop the slices of an instance whose keys there are no more, or list them."""
    from data_pipeline.cli.chosen_slices import known_slices
    from data_pipeline.cli.planned_run import storage_of_shell
    from data_pipeline.database.connection import database
    from data_pipeline.drop.inventory import DropSelection
    from data_pipeline.store import catalog
    from data_pipeline.store.sliced_tables import drop_command

    known = known_slices(storage_of_shell(instance.home))
    with database(instance).begin() as connection:
        rows = catalog.rows(connection, instance.catalog_schema).values()
    there = [row.table for row in rows if row.slice.get("key")]
    wholes = {table.whole for table in there} & chosen_project.sliced_tables().keys()
    for whole in sorted(wholes - known.keys(), key=str):
        click.echo(
            f"{instance.name}: `{whole}` stays, since Dagster's storage has no key of its dynamic "
            "partitions. Set DAGSTER_HOME to that in which they were added; or, if all are gone, "
            f"drop the table: {drop_command(instance, whole)}"
        )
    gone = frozenset(
        table for table in there if table.whole in known and table.slice not in known[table.whole]
    )
    if not gone:
        click.echo(f"{instance.name}: no slices to drop")
        return
    click.echo(f"{instance.name}: the partitions of their assets do not have these any more")
    _drop(instance, DropSelection(frozenset(), tables=gone), "--slices", yes=yes, force=force)


def _drop_orphans(instance: "Instance", *, yes: bool, force: bool) -> None:
    from data_pipeline.cli.planned_run import orphans_of
    from data_pipeline.drop.inventory import DropSelection

    found = orphans_of(instance)
    for row in found.unknown:
        click.echo(f"{instance.name}: `{row.table}` is of unknown origin, and stays")
    if not found.own:
        click.echo(f"{instance.name}: no orphans")
        return
    click.echo(f"{instance.name}: no asset makes these any more")
    selection = DropSelection(
        frozenset(),
        tables=frozenset(row.table for row in found.own),
        # Somebody else may come to have one of them until it is dropped.
        seen_in=found.own[0].seen_in,
    )
    _drop(instance, selection, "--orphans", yes=yes, force=force)


def _drop(
    instance: "Instance", selection: "DropSelection", option: str, *, yes: bool, force: bool
) -> None:
    """Drop a selection, or list it."""
    from data_pipeline.cli.commands.drop import listing
    from data_pipeline.cli.planned_run import log_for_shell
    from data_pipeline.database.connection import database
    from data_pipeline.drop import dropping
    from data_pipeline.drop.blockers import DropOrder, drop_plan

    order = DropOrder(instance, selection, force=force)
    base = database(instance)
    with base.begin() as connection:
        plan = drop_plan(connection, order)
    for line in listing(plan):
        click.echo(line)
    if not yes:
        again = project.command("gc", instance.name, option, "--yes", *(["--force"] * force))
        click.echo(f"Nothing was dropped. To drop it: {again}")
        return
    plan.check(order)
    dropping.drop(base, order, log_for_shell())
    click.echo("Dropped.")


def _collect(instance: "Instance") -> tuple[int, int, list[str]]:
    from data_pipeline.database.advisory_locks import reserve
    from data_pipeline.database.connection import database
    from data_pipeline.store import slots
    from data_pipeline.store.blobs import blob_files

    with database(instance).begin() as connection:
        kept = [slot.row for slot in slots.all_slots(connection, instance)]
        # A run may be about to swap one in of the tables that it writes.
        free = reserve(connection, instance, {row.table for row in kept})
        kept = [slot.row for slot in slots.all_slots(connection, instance)]
        used = slots.in_use(connection, instance, kept)
        used += [row for row in kept if row.table not in free and row not in used]
        rows = [row for row in kept if row not in used]
        for row in rows:
            slots.drop(connection, instance, row)
        unused = slots.unused_files(connection, instance, rows)
    for row in rows:
        if row.location in unused:
            blob_files.remove(instance, row.table, row.location)
    names = [str(slots.relation_of(instance, row)) for row in used]
    return len(rows), sum(row.bytes or 0 for row in rows), names
