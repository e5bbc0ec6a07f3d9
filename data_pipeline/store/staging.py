"""What is staged: tables and blobs that are built, and wait for the commit of their stage.

Each has a row in `<instance_id>_catalog.staged`: the catalog row that it will get, and the run that
will commit it. Tables lie in the staging schema of their stage under their own names.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.relations import relation_kind
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import ONLY_ROW, CatalogRow
from data_pipeline.store.changed_by_hand import intact_relations
from data_pipeline.store.table_properties import object_name

STAGED = "staged"

LOADS = "loads"
"""Tables of which a part is loaded; see `results/ranges/loads.py`."""

_RELATIONS = sa.text("""
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
ORDER BY n.nspname, c.relname
""")


_LOOK = stored_query(__file__, "staging_look")
_NO_CATALOG = frozenset({"42P01", "3F000"})  # undefined table, invalid schema name


@dataclass(frozen=True)
class Look:
    """What there is of a table before a step stages it.

    Attributes:
        other_case: A relation whose name differs in upper and lower case alone.
        unknown: The kind of a relation at its place that no run has made, as in pg_class; `lost`
            where runs have staged tables of the stage before there was this catalog.
        is_alive: Whether the run is listed as being at work.
        has_schema: Whether the staging schema is there.
        is_taken: Whether something is staged already, or left of it.
        own_relations: The tables and views that the run has staged so far, each with whether it is
            an increment.
        is_committed: Whether there is a committed one.
        query_key: What identifies the query that made that.
        before: Its number of rows, data version, primary key, and columns with their types.
    """

    other_case: str | None
    unknown: str | None
    is_alive: bool
    has_schema: bool
    is_taken: bool
    own_relations: Mapping[StageTable, bool]
    is_committed: bool
    query_key: str | None
    before: Mapping[str, Any] | None


@dataclass(frozen=True)
class Staged:
    """A table or blob that is built.

    Attributes:
        row: The catalog row that it will get.
        owner: The run that is to commit it.
        is_there: Whether its relation, the rows in it, or its file still are, as they were built;
            and, of an increment, what it is to be added to.
    """

    row: CatalogRow
    owner: str
    is_there: bool

    @property
    def table(self) -> StageTable:
        """Stage and name."""
        return self.row.table


def relation_of(instance: Instance, table: StageTable) -> RelationName:
    """Name the relation of a table while it is staged."""
    return RelationName(instance.staging_schema(table.stage), table.name)


def whole_relation(instance: Instance, table: StageTable) -> RelationName:
    """Name the view that shows a table with its increment while that is staged."""
    name = object_name(table.name, "whole", table.stage)
    return RelationName(instance.staging_schema(table.stage), name)


def relation_to_read(instance: Instance, row: CatalogRow) -> RelationName:
    """Name the relation in which a run sees a table that it has staged."""
    return (whole_relation if row.is_increment else relation_of)(instance, row.table)


def look_query(instance: Instance, table: StageTable, run_id: str) -> str:
    """Return the query for what there is of a table before a step stages it; see `look_of`."""
    return _LOOK.format(
        staged=quoted(instance.catalog_schema, STAGED),
        tables=quoted(instance.catalog_schema, catalog.TABLES),
        runs=quoted(instance.catalog_schema, run_registry.RUNS),
        schema=literal(instance.schema(table.stage)),
        staging=literal(instance.staging_schema(table.stage)),
        catalog=literal(instance.catalog_schema),
        relation=literal(relation_of(instance, table).quoted),
        committed=literal(quoted(instance.schema(table.stage), table.name)),
        stage=literal(table.stage),
        name=literal(table.name),
        run_id=literal(run_id),
    )


def look_of(found: Sequence[Any]) -> Look:
    """Read the row of `look_query`."""
    other_case, unknown, is_alive, has_schema, is_taken, own, *of_committed = found
    is_committed, query_key, before = of_committed
    return Look(
        other_case,
        unknown,
        is_alive,
        has_schema,
        is_taken,
        {StageTable(stage, name): grows for stage, name, grows in own or ()},
        is_committed,
        query_key,
        before,
    )


@contextmanager
def needing_catalog(instance: Instance, run_id: str) -> Iterator[None]:
    """Say what it means that there is no catalog: no run is at work on the instance.

    Raises:
        DatabaseError: There is none.
    """
    try:
        yield
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) not in _NO_CATALOG:
            raise
        raise taken_for_dead(instance, run_id) from None


_followed: dict[tuple[int, str], dict[tuple[str, StageTable], CatalogRow]] = {}


def follow(run_id: str) -> None:
    """Remember what a run stages in this process, which leads it and so knows what it commits."""
    _followed[os.getpid(), run_id] = {}


def unfollow(run_id: str) -> None:
    """Forget what a run has staged; its end makes it what others see, or nothing."""
    _followed.pop((os.getpid(), run_id), None)


def followed(run_id: str) -> Mapping[tuple[str, StageTable], CatalogRow]:
    """Return what a run that this process leads has staged in it, by instance id and table."""
    return _followed.get((os.getpid(), run_id), {})


def forget_followed(run_id: str, stages: Collection[str]) -> None:
    """Forget what a run has staged of stages, which are committed."""
    rows = _followed.get((os.getpid(), run_id), {})
    for key in [key for key in rows if key[1].stage in stages]:
        del rows[key]


def put(session: sa.Connection, instance: Instance, row: CatalogRow, owner: str) -> None:
    """List what a run has built, in one statement.

    Raises:
        DatabaseError: The run was taken for dead; another one may be at work on the stage.
    """
    values = {**catalog.values_of(row), "owner": owner}
    if session.execute(_listing(instance.catalog_schema), values).first() is None:
        raise taken_for_dead(instance, owner)
    if row.is_relation and (os.getpid(), owner) in _followed:
        _followed[os.getpid(), owner][instance.instance_id, row.table] = row


@cache
def _listing(schema: str) -> Any:
    """Return the statement that lists a result of a run, and gives no row if that is dead."""
    target = _of_schema(schema)
    values: dict[str, sa.ColumnElement[Any]] = {
        c.name: sa.bindparam(c.name, type_=c.type) for c in target.c
    }
    values["built_at"] = sa.func.clock_timestamp()
    alive = run_registry.registered(schema, sa.bindparam("owner"), *values.values())
    statement = insert(target).from_select(list(values), alive)
    return statement.on_conflict_do_update(
        index_elements=["stage", "name"],
        set_={c.name: c for c in statement.excluded if c.name not in ("stage", "name")},
    ).returning(target.c.name)


def check_alive(connection: sa.Connection, instance: Instance, run_id: str) -> None:
    """Make sure, until the transaction ends, that a run is not taken for dead.

    Raises:
        DatabaseError: It was.
    """
    if not run_registry.is_registered(connection, instance, run_id):
        raise taken_for_dead(instance, run_id)


def taken_for_dead(instance: Instance, run_id: str) -> DatabaseError:
    """Return the error to raise for a run that others took for dead."""
    return DatabaseError(
        f"Run {run_id} may not write to instance `{instance.name}` any more: the process that "
        "led it ended or lost its database session, so that other runs took it for dead; or "
        f"its resources are those of another instance than `{instance.instance_id}` (another "
        "configuration, or per_user, than that of its executor). Nothing that was committed "
        f"has changed. Run again: {instance.build_command}"
    )


def of_run(
    connection: sa.Connection, instance: Instance, run_id: str
) -> dict[StageTable, CatalogRow]:
    """Return what a run has staged and not committed."""
    if not catalog.exists(connection, instance.catalog_schema, STAGED):
        return {}
    staged = _table(instance)
    query = sa.select(staged).where(staged.c.owner == run_id)
    return {row.table: row for row in map(catalog.row_of, connection.execute(query))}


def row(
    connection: sa.Connection, instance: Instance, run_id: str, table: StageTable
) -> CatalogRow | None:
    """Return what a run has staged of one table."""
    if not catalog.exists(connection, instance.catalog_schema, STAGED):
        return None
    staged = _table(instance)
    found = connection.execute(
        sa.select(staged).where(
            staged.c.owner == run_id, staged.c.stage == table.stage, staged.c.name == table.name
        )
    ).one_or_none()
    return catalog.row_of(found) if found else None


def of_asset(connection: sa.Connection, instance: Instance, asset: StageTable) -> list[StageTable]:
    """Return what is staged, by whatever run, of the several tables of an asset."""
    staged = _table(instance)
    mine = sa.and_(staged.c.stage == asset.stage, staged.c.part_of == asset.name)
    found = connection.execute(sa.select(staged.c.stage, staged.c.name).where(mine))
    return [StageTable(*item) for item in found]


def everything(connection: sa.Connection, instance: Instance) -> list[Staged]:
    """Return all that is staged, by whatever run."""
    if not catalog.exists(connection, instance.catalog_schema, STAGED):
        return []
    query = sa.select(_table(instance)).order_by("stage", "name")
    found = [(catalog.row_of(item), item.owner) for item in connection.execute(query)]
    relations = {
        relation_of(instance, row.table): replace(row, row_count=row.increment["rows"])
        if row.is_increment
        else row
        for row, _ in found
        if row.is_relation
    }
    intact = intact_relations(connection, relations)
    bases = _bases(connection, instance, [row for row, _ in found if row.is_increment])
    return [
        Staged(
            row,
            owner,
            relation_of(instance, row.table) in intact
            and (not row.is_increment or row.table in bases)
            if row.is_relation
            else row.kind in ONLY_ROW or blob_files.is_intact(instance, row),
        )
        for row, owner in found
    ]


def _bases(
    connection: sa.Connection, instance: Instance, increments: Sequence[CatalogRow]
) -> frozenset[StageTable]:
    """Return those of the tables with staged increments that are still what these were made for."""
    if not increments:
        return frozenset()
    known = catalog.rows(connection, instance.catalog_schema)
    before = {
        RelationName(instance.schema(row.stage), row.name): known[row.table]
        for row in increments
        if row.table in known and known[row.table].data_version == row.increment["onto"]
    }
    views = {
        row.table
        for row in increments
        if relation_kind(connection, whole_relation(instance, row.table)) == "VIEW"
    }
    intact = intact_relations(connection, before)
    return frozenset(before[name].table for name in intact) & views


def adopt(
    connection: sa.Connection, instance: Instance, rows: Iterable[CatalogRow], run_id: str
) -> None:
    """Make a run the owner of what another one left behind."""
    staged = _table(instance)
    for item in rows:
        connection.execute(
            sa.update(staged)
            .where(staged.c.stage == item.stage, staged.c.name == item.name)
            .values(owner=run_id, code_parts=item.code_parts)
        )


def keep_from_reuse(
    connection: sa.Connection, instance: Instance, assets: Collection[StageTable], run_id: str
) -> None:
    """Let no other run continue what a run has staged of assets, whose step has failed since."""
    staged = _table(instance)
    asset = sa.tuple_(staged.c.stage, sa.func.coalesce(staged.c.part_of, staged.c.name))
    mine = sa.and_(staged.c.owner == run_id, asset.in_([(a.stage, a.name) for a in assets]))
    connection.execute(sa.update(staged).where(mine).values(cache_key=None))


def forget(connection: sa.Connection, instance: Instance, tables: Iterable[StageTable]) -> None:
    """Take tables off the list, and what is known of loads that are under way."""
    key = [(table.stage, table.name) for table in tables]
    for rows in _followed.values():
        for stage, name in key:
            rows.pop((instance.instance_id, StageTable(stage, name)), None)
    if key:
        loads = sa.table(
            LOADS, sa.column("stage"), sa.column("name"), schema=instance.catalog_schema
        )
        for listed in (_table(instance), loads):
            connection.execute(
                sa.delete(listed).where(sa.tuple_(listed.c.stage, listed.c.name).in_(key))
            )


def under_way(connection: sa.Connection, instance: Instance) -> set[StageTable]:
    """Return the tables of which a part is loaded."""
    if not catalog.exists(connection, instance.catalog_schema, LOADS):
        return set()
    loads = quoted(instance.catalog_schema, LOADS)
    found = run(connection, f"SELECT stage, name FROM {loads} WHERE range <> ''").all()
    return {StageTable(*item) for item in found}


def relations(
    connection: sa.Connection, instance: Instance, stages: Iterable[str]
) -> Mapping[RelationName, str]:
    """Return what lies in the staging schemas of stages, with its kind (as in pg_class)."""
    schemas = [instance.staging_schema(stage) for stage in stages]
    found = connection.execute(_RELATIONS, {"schemas": schemas})
    return {RelationName(item.schema, item.name): item.kind for item in found}


def drop(connection: sa.Connection, relation: RelationName, kind: str = "r") -> None:
    """Drop a staged relation, with staged views on it."""
    what = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}.get(kind, "TABLE")
    run(connection, f"DROP {what} IF EXISTS {relation.quoted} CASCADE")


def _table(instance: Instance) -> sa.TableClause:
    return _of_schema(instance.catalog_schema)


@cache
def _of_schema(schema: str) -> sa.TableClause:
    owner = sa.column("owner", sa.Text())
    return sa.table(STAGED, *catalog.columns(), owner, schema=schema)
