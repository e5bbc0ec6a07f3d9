"""`data-pipeline drop`: lists what there is of an instance, and drops it when told so."""

import logging
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import ConfigurationError, IsolationError
from data_pipeline.instances import project
from data_pipeline.instances.merged_layers import suggestion

if TYPE_CHECKING:
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.drop.blockers import DropPlan
    from data_pipeline.drop.inventory import InventoryItem
    from data_pipeline.instances import Configuration, Instance

_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


@click.command()
@click.argument("instance")
@click.option("--stage", metavar="S", help="Only this stage.")
@click.option("--table", metavar="S/T", help="Only this table, with its slices; or this blob.")
@click.option(
    "--older-than", metavar="D", help="Only what was committed longer ago: 12h, 30d or 2w."
)
@click.option("--yes", is_flag=True, help="Drop it; otherwise it is only listed.")
@click.option(
    "--force", is_flag=True, help="Even if others read it; views and the like go along (CASCADE)."
)
def drop(
    instance: str,
    stage: str | None,
    table: str | None,
    older_than: str | None,
    yes: bool,
    force: bool,
) -> None:
    """Drop what INSTANCE has built: tables, views, cache slots, blobs, its catalog.

    Lists it first. INSTANCE may also be the id of an instance that the configuration does not name.
    """
    from data_pipeline.database.connection import database
    from data_pipeline.drop import dropping
    from data_pipeline.drop.blockers import DropOrder, drop_plan
    from data_pipeline.drop.inventory import DropSelection

    configuration = chosen_project.configuration()
    age = None if older_than is None else _duration(older_than)
    chosen, is_foreign = _instance(configuration, instance)
    stages, copied = _stages(configuration, chosen)
    base = database(chosen)
    tables = None
    if table is not None:
        if stage is not None:
            raise click.UsageError("--table names the stage too: leave out --stage.")
        stage, tables = table.partition("/")[0], _named(chosen, table)
    order = DropOrder(chosen, DropSelection(stages, stage, age, tables), copied, force)
    with base.begin() as connection:
        found = drop_plan(connection, order)
    for line in (*listing(found), *_of_other_code(found)):
        click.echo(line)
    if not found.parts:
        click.echo(f"There is nothing to drop of instance `{chosen.name}`.")
        return
    if is_foreign and not force:
        raise IsolationError(
            f"The configuration does not name the instance id `{chosen.instance_id}`; it may be "
            "somebody else's. If you are sure that nobody needs it, add --force."
        )
    found.check(order)
    if not (yes or (_is_asked() and click.confirm("Drop all of this?"))):
        part = {"--stage": stage} if table is None else {"--table": table}
        options = {**part, "--older-than": older_than}
        given = [word for option in options.items() if option[1] for word in option if word]
        again = project.command("drop", instance, *given, "--yes", *(["--force"] * force))
        click.echo(f"Nothing was dropped. To drop it: {again}")
        return
    dropping.drop(base, order, logging.getLogger("data_pipeline"))
    click.echo("Dropped.")


def _is_asked() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()  # a service may have none


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no duration. Write 12h, 30d or 2w, for example.")
    return timedelta(hours=int(match[1]) * _HOURS[match[2]])


def _instance(configuration: "Configuration", name: str) -> tuple["Instance", bool]:
    """Return the instance of a name or id, and whether the configuration does not name it."""
    from data_pipeline.drop.dropping import unconfigured

    if name in configuration.instances:
        return configuration.instance(name), False
    own = [item for item in configuration.instances.values() if item.instance_id == name]
    return (own[0], False) if own else (unconfigured(configuration, name), True)


def _named(instance: "Instance", name: str) -> "frozenset[StageTable]":
    """Return a table or blob with all that is of it: slices, several tables of one asset."""
    from data_pipeline.database.connection import database
    from data_pipeline.store import catalog

    with database(instance).begin() as connection:
        rows = catalog.rows(connection, instance.catalog_schema).values()
    if found := frozenset(r.table for r in rows if name in (str(r.table.whole), str(r.asset))):
        return found
    known = dict.fromkeys(str(row.table.whole) for row in rows)
    raise ConfigurationError(
        f"Instance `{instance.name}` has no table `{name}`. {suggestion(name, known)}"
    )


def _stages(
    configuration: "Configuration", instance: "Instance"
) -> tuple[frozenset[str], dict[str, list[str]]]:
    """Return the stages of the code, and which instances copy from each of them."""
    from data_pipeline.sampling.copy_filtered_inputs import SOURCE_METADATA_KEY

    specs = chosen_project.asset_specs()
    copies = {
        (spec.key.path[0], str(spec.metadata[SOURCE_METADATA_KEY]).split("/")[0])
        for spec in specs
        if SOURCE_METADATA_KEY in spec.metadata
    }
    copiers = [
        item.name
        for item in configuration.instances.values()
        if item.source is not None and item.source.instance_id == instance.instance_id
    ]
    # A copy of a copy is made from the input tables, a copy of what loads for itself from raw ones.
    sources = {inputs if instance.copies else raw for inputs, raw in copies} if copiers else set()
    return frozenset(spec.key.path[0] for spec in specs), dict.fromkeys(sources, copiers)


def _of_other_code(found: "DropPlan") -> Iterator[str]:
    """Return the lines that say which tables other projects in the same instance make."""
    from data_pipeline.database.identifiers import few

    own = chosen_project.code_location()
    rows = [row for part in found.parts for row in part.rows]
    for name in sorted({row.seen_in for row in rows if row.seen_in} - {own.name if own else ""}):
        tables = [f"`{row.table}`" for row in rows if row.seen_in == name]
        yield f"of other code, `{name}`: {few(tables)}"


def listing(found: "DropPlan") -> Iterator[str]:
    """Return the lines that show what would be dropped, and what stands in the way."""
    for part in found.parts:
        yield from _lines(part)
    sizes = [item.bytes for part in found.parts for item in part.relations]
    files = [path.stat().st_size for part in found.parts for path in part.files if path.exists()]
    if found.parts:
        yield (
            f"total: {len(sizes)} relation(s), {sum(sizes):,} bytes; {len(files)} file(s), "
            f"{sum(files):,} bytes"
        )
    for title, items in (
        ("needed by others", found.readers),
        ("built on it by others", [item.text for item in found.dependents]),
    ):
        if items:
            yield f"{title}:"
            yield from (f"  {item}" for item in items)


def _lines(part: "InventoryItem") -> Iterator[str]:
    from data_pipeline.store.catalog import ONLY_ROW

    for schema in part.schemas:
        yield f"schema {schema.name}{'' if schema.goes else ' (stays)'}"
        for item in schema.relations:
            row = item.row
            name = item.name.name if row is None else row.name
            kind = "view" if item.kind == "v" else "table"
            count = "" if row is None or row.row_count is None else f", {row.row_count:,} rows"
            yield f"  {kind} {name}{count}, {item.bytes:,} bytes"
        if schema.others:
            yield "  stays, since others made it:"
            yield from (f"    {text}" for text in schema.others)
    if bare := [row for row in part.rows if row.kind in ONLY_ROW]:
        yield f"rows of the catalog alone, of stage {part.stage}"
        yield from (f"  {row.kind} {row.name}" for row in bare)
    if part.files:
        yield f"files of blobs{f' of stage {part.stage}' if part.stage else ''}"
    for path in part.files:
        size = f"{path.stat().st_size:,} bytes" if path.exists() else "gone"
        yield f"  file {path}, {size}"
