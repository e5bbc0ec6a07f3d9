"""The catalog rows of what a step makes and does not store here, staged when it has succeeded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import sqlalchemy as sa

from data_pipeline.caching.decisions import Computation, Key, Step
from data_pipeline.caching.elsewhere import with_files_of
from data_pipeline.tables import catalog, staging
from data_pipeline.tables.catalog import CatalogRow, Kind, fingerprint
from data_pipeline.tables.clearing import make_room
from data_pipeline.tables.run_session import RunSession
from data_pipeline.tables.store import Origin


@dataclass(frozen=True)
class Unstored:
    """An asset of which nothing but a row is kept here.

    Attributes:
        kind: What it is.
        version: The data version that its code gave it, if any.
        state: What tells that a value elsewhere still is the one that was made.
        earlier: The row that it replaces, if any.
    """

    kind: Kind
    version: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    earlier: CatalogRow | None = None


def stage_unstored(
    session: RunSession,
    step: Step,
    found: Mapping[Key, Unstored],
    version_of: Callable[[Key], str | None],
) -> list[CatalogRow]:
    """Stage a row for each asset of a step that is not stored here.

    What the step has stored, and made from such an asset, notes the version that this has now.

    Args:
        session: The run, which holds the locks of the tables.
        step: The step, which has succeeded.
        found: Its assets that are not stored here.
        version_of: Gives the data version of an input, as the step found it.

    Returns:
        The rows.
    """
    rows = list(_rows(session.run_id, step, found, version_of))
    for row in rows:
        make_room(session.database, session.instance, row.table, session.run_id, session.log)
    with session.begin() as connection:
        for row in rows:
            staging.put(connection, session.instance, row, session.run_id)
        others = [item for item in step.computations if item.key not in found]
        _note_versions(connection, session, others, rows)
    return rows


def _rows(
    run_id: str,
    step: Step,
    found: Mapping[Key, Unstored],
    version_of: Callable[[Key], str | None],
) -> Iterator[CatalogRow]:
    versions: dict[Key, str] = {}
    for item in _in_order(step):
        if (made := found.get(item.key)) is None:
            continue
        table = item.key[1]
        inputs = {
            f"{instance}/{name}": versions.get((instance, name)) or version_of((instance, name))
            for instance, name in item.inputs
        }
        # Where the same computation is not told from another one, each run makes something new.
        key = item.identity.cache_key(str(table), inputs) or f"{run_id} {table}"
        versions[item.key] = made.version or fingerprint("unstored-1", key)
        origin = Origin(run_id, item.identity, inputs)
        row = origin.row(table, made.kind, versions[item.key], relation=made.state)
        yield row if made.earlier is None else with_files_of(made.earlier, row)


def _in_order(step: Step) -> Iterator[Computation]:
    """Give the assets of a step, each behind those of them that it is made from."""
    own = {item.key: item for item in step.computations}
    needs = {item.key: [key for key in item.inputs if key in own] for item in step.computations}
    return (own[key] for key in TopologicalSorter(needs).static_order())


def _note_versions(
    connection: sa.Connection,
    session: RunSession,
    others: Sequence[Computation],
    rows: Sequence[CatalogRow],
) -> None:
    """Let what the step has stored know the versions of what it has not, which are new to it."""
    instance = session.instance
    versions = {f"{instance.instance_id}/{row.table}": row.data_version for row in rows}
    staged = staging.of_run(connection, instance, session.run_id)
    for item in others:
        table = item.key[1]
        is_staged = table in staged
        row = staged.get(table) or catalog.row(connection, instance.catalog_schema, table)
        if row is None or not versions.keys() & row.inputs.keys():
            continue
        inputs = {name: versions.get(name, version) for name, version in row.inputs.items()}
        key = item.identity.cache_key(str(table), inputs)
        noted = replace(row, inputs=inputs, cache_key=key)
        if is_staged:
            staging.put(connection, instance, noted, session.run_id)
        else:  # it was left as it is
            catalog.confirm(connection, instance.catalog_schema, noted)
