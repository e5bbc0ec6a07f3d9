"""A scratch schema: of one process, on a server for tests, gone when the process is done with it.

Scratch instances, whose ids follow from its name, have further schemas, which are gone with it.

The server is the embedded one of DATA_PIPELINE_HOME, which starts by itself, or the one that the
environment variable DATA_PIPELINE_TEST_URL names. The servers of the configuration hold data of
others, so they are never asked.

Who uses a schema holds a lock of its name. A process that is killed leaves its schema behind, but
not the lock: the next one to make a schema drops those that nobody holds.
"""

import logging
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import WAIT, scratch_lock_name, try_for_transaction
from data_pipeline.database.connection import Database, database_at, run
from data_pipeline.database.identifiers import RelationName, StageTable, quoted
from data_pipeline.errors import ConfigurationError, DatabaseError, UnsupportedDataError
from data_pipeline.instances import DatabaseUrl
from data_pipeline.results.build import build_from_batches
from data_pipeline.sampling.engine import Selection
from data_pipeline.sampling.engine.source_tables import TID, SourceTable
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.filtered_frames import FilteredFrame
from data_pipeline.sampling.masked_and_cut_rows import columns_of, copied_rows, places_table
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.weight_columns import fact_prefix
from data_pipeline.sampling.prediction.budget import sized_selection
from data_pipeline.sampling.prediction.messages_of_draws import log_selection, log_sizes
from data_pipeline.sampling.weights import (
    check_key,
    check_told_by_key,
    facts_of_all,
    facts_of_chosen,
    key_columns,
)
from data_pipeline.store.reading import reference, stream
from data_pipeline.store.table_properties import Properties
from data_pipeline.transfer.frames import from_reader, to_reader

TEST_URL = "DATA_PIPELINE_TEST_URL"
"""The environment variable that names another server than the embedded one."""

PREFIX = "data_pipeline_scratch_"
"""What the names of scratch schemas begin with."""

# The whole name: a stage of an instance called `data_pipeline` may begin like that.
_PATTERN = f"^{PREFIX}[0-9a-f]{{16}}$"
_OWN = sa.text(
    "SELECT nspname FROM pg_namespace "
    "WHERE nspname ~ :pattern AND pg_get_userbyid(nspowner) = current_user"
)


_OF_INSTANCES = sa.text(
    "SELECT nspname FROM pg_namespace "
    "WHERE starts_with(nspname, :prefix) AND pg_get_userbyid(nspowner) = current_user"
)
_CHOOSING = "A sample of data frames is chosen by"
_WITHOUT_SAMPLE = (
    " Without `sample` in the instance's attrs (copy_filter_cnt, copy_filter_rate) no server is "
    "needed."
)


def scratch_instance_id(schema: str, number: int) -> str:
    """Return the id of an instance whose schemas are dropped with a scratch schema.

    Args:
        schema: The name of the scratch schema.
        number: Which of its instances it is.
    """
    return f"{_prefix(schema)}{number}"


def _prefix(schema: str) -> str:
    return f"s{schema.removeprefix(PREFIX)}_"


@contextmanager
def scratch_schema(
    home: Path, *, purpose: str = _CHOOSING, otherwise: str = _WITHOUT_SAMPLE
) -> Iterator[tuple[Database, str]]:
    """Make a schema for the time of a block.

    Args:
        home: DATA_PIPELINE_HOME, for the embedded server.
        purpose: How the message about a missing server begins.
        otherwise: How it ends.

    Yields:
        The database, and the name of the schema. What is made there is to be committed, so that
        all sessions see it.

    Raises:
        ConfigurationError: DATA_PIPELINE_TEST_URL holds no URL.
        DatabaseError: There is no server, or it lets no schema be made.
    """
    schema = f"{PREFIX}{secrets.token_hex(8)}"
    with ExitStack() as stack:
        try:
            server, holder = _connected(home, stack)
        except DatabaseError as error:
            raise DatabaseError(
                f"{purpose} a PostgreSQL server, in a schema that is gone afterwards, but "
                f"{error}{otherwise}"
            ) from None
        holder.execute(WAIT, {"name": scratch_lock_name(schema)})
        holder.commit()  # the session has it, not a transaction that would be idle
        _drop_leftovers(server)
        with server.begin() as connection:
            run(connection, f"CREATE SCHEMA {quoted(schema)}")
        try:
            yield server, schema
        finally:
            with server.begin() as connection:
                _drop(connection, schema)


def _connected(home: Path, stack: ExitStack) -> tuple[Database, sa.Connection]:
    """Return the database with a session of its own, which the stack ends."""
    given = os.environ.get(TEST_URL)
    try:
        url = DatabaseUrl(given or "embedded")
    except ValueError as error:
        raise ConfigurationError(f"environment variable {TEST_URL}: {error}.") from None
    try:
        server = database_at(url, home)
        return server, stack.enter_context(server.private_connection())
    except DatabaseError as error:
        if given:
            reason = str(error).splitlines()[0]  # the others are about instances.yaml
            tried = f"the one that {TEST_URL} names cannot be used: {reason}"
            remedy = f"Correct {TEST_URL}, or unset it to let the embedded server start."
        else:
            tried = f"the embedded one cannot be used: {error}"
            remedy = (
                f"Or set {TEST_URL} to the URL of a PostgreSQL in which schemas may be made, "
                "postgresql://user:password@host/database."
            )
        raise DatabaseError(f"{tried}\n{remedy}") from None


def _drop_leftovers(server: Database) -> None:
    with server.begin() as connection:
        schemas = connection.scalars(_OWN, {"pattern": _PATTERN}).all()
    for schema in schemas:
        with server.begin() as connection:
            if try_for_transaction(connection, scratch_lock_name(schema)):
                _drop(connection, schema)


def _drop(connection: sa.Connection, schema: str) -> None:
    of_instances = connection.scalars(_OF_INSTANCES, {"prefix": _prefix(schema)}).all()
    names = ", ".join(quoted(name) for name in (*of_instances, schema))
    run(connection, f"DROP SCHEMA IF EXISTS {names} CASCADE")


_ROW = "data_pipeline_row"
"""The column with the number of a row in its frame."""


def sampled_frames(
    home: Path,
    plan: SamplePlan,
    frames: Mapping[str, Any],
    properties: Mapping[str, Properties],
    weighted: Collection[str],
    log: logging.Logger,
) -> dict[str, FilteredFrame]:
    """Choose a sample of frames: the rows that are chosen of tables that are made of them.

    Args:
        home: DATA_PIPELINE_HOME.
        plan: What is to be chosen.
        frames: Frames of pandas, polars or Arrow by the names of the input tables.
        properties: Their properties.
        weighted: The tables whose roles and weights are wanted.
        log: The log of the run.

    Raises:
        ConfigurationError: Specification and frames do not fit.
        UnsupportedDataError: PostgreSQL cannot hold a value.
        DatabaseError: There is no server, or it refused something.
    """
    stage = plan.graph.stage
    with scratch_schema(home) as (database, schema):
        tables = {
            name: _loaded(database, schema, StageTable(stage, name), frame, properties[name])
            for name, frame in frames.items()
        }
        with database.begin() as connection:
            space = Workspace.open(connection, schema, stage)
            sized = sized_selection(space, plan, tables)
            chosen = sized.selection
            for name in frames:
                if name in weighted or chosen.rows[name] is not None:
                    space.create(_rows(chosen, space, name, weights=name in weighted), "row", name)
                if plan.altered(name):
                    copied = _numbered(chosen, space, name)
                    columns = columns_of(chosen.sources[name].table, copied)
                    space.create(sa.select(*columns, copied.c[_ROW]), "copied", name)
        log_selection(log, chosen)
        log_sizes(log, sized)
        return {
            name: _kept(database, space, chosen, name, frame, weights=name in weighted, log=log)
            for name, frame in frames.items()
        }


def _loaded(
    database: Database, schema: str, table: StageTable, frame: Any, properties: Properties
) -> sa.Table:
    """Make a table of a frame, as the raw table would be, with its rows in their order."""
    target = RelationName(schema, table.name)
    wanted = replace(properties, indexes=(), unlogged=True)
    try:
        build_from_batches(database, table, target, to_reader(frame), wanted)
    except UnsupportedDataError as error:
        raise UnsupportedDataError(f"Table `{table}`: {error}") from error
    with database.begin() as connection:
        return reference(connection, target, None)


def _numbered(chosen: Selection, space: Workspace, name: str) -> sa.Subquery:
    """Return the chosen rows of a table as they are copied, with their numbers in the frame."""
    source = chosen.sources[name].table
    there = SourceTable(name, source, (), {}).all_rows("there")
    number = sa.func.row_number().over(order_by=there.c[TID]) - 1
    rows = sa.select(*there.c, number.label(_ROW)).subquery("rows")
    if not chosen.plan.altered(name):
        return rows
    cuts = {
        column: places_table(space.name("cut", name, column))
        for column in chosen.plan.cuts.get(name, ())
    }
    masks = chosen.plan.masks.get(name, {})
    copied = copied_rows(source, chosen.rows[name], cuts, masks, "copied")
    numbers = sa.select(rows.c[TID], rows.c[_ROW]).subquery("numbers")
    joined = copied.join(numbers, numbers.c[TID] == copied.c[TID])
    return sa.select(*copied.c, numbers.c[_ROW]).select_from(joined).subquery("numbered")


def _rows(chosen: Selection, space: Workspace, name: str, *, weights: bool) -> sa.Select[Any]:
    """Return the query for the numbers of a table's chosen rows, with their roles if wanted."""
    source, places = chosen.sources[name].table, chosen.rows[name]
    rows = _numbered(chosen, space, name)
    facts: list[sa.ColumnElement[Any]] = []
    if weights:
        table = StageTable(chosen.plan.graph.stage, name)
        check_key(table, source)
        if chosen.plan.altered(name):
            check_told_by_key(table, source)
        key = key_columns(source, rows)
        prefix = fact_prefix(column.name for column in key)
        of_rows = (
            facts_of_all(key, Role.CERTAIN, 1.0, prefix)
            if places is None
            else facts_of_chosen(places, prefix)
        )
        facts = [*key, *of_rows]
    query = sa.select(rows.c[_ROW], *facts)
    return query if places is None else query.join(places, places.c[TID] == rows.c[TID])


def _kept(
    database: Database,
    space: Workspace,
    chosen: Selection,
    name: str,
    frame: Any,
    *,
    weights: bool,
    log: logging.Logger,
) -> FilteredFrame:
    copied = None
    if chosen.plan.altered(name):
        made = stream(database, space.name("copied", name), log).read_all().sort_by(_ROW)
        copied = from_reader(made.drop_columns(_ROW).to_reader(), type(frame))
    if chosen.rows[name] is None and not weights:
        return FilteredFrame(frame, None, None, copied)
    found = stream(database, space.name("row", name), log).read_all().sort_by(_ROW)
    rows = None if chosen.rows[name] is None else found.column(_ROW).combine_chunks()
    return FilteredFrame(frame, rows, found.drop_columns(_ROW) if weights else None, copied)
