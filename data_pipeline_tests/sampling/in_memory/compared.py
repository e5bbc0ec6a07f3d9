"""Samples of the same tables, chosen in the database and on frames."""

from collections.abc import Mapping
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from data_pipeline.sampling import in_database, in_memory
from data_pipeline.sampling.in_database.source_tables import TID
from data_pipeline.sampling.in_database.workspace import Workspace
from data_pipeline.sampling.rules import Role
from data_pipeline.tables.names import quoted
from data_pipeline.tables.read import read
from data_pipeline_tests.sampling.schemas import STAGE, Schema

Fact = tuple[str, float | None, int | None, str | None]
"""Role, probability, unit and reason of a row."""
Facts = dict[int, Fact] | None
"""By the place of each chosen row in the source, from 0; None: the table comes whole."""

_TYPES = sa.text(
    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
    "WHERE attrelid = to_regclass(:name) AND attnum > 0"
)


def chosen_in_database(schema: Schema, **settings: Any) -> dict[str, Facts]:
    """Chooses a sample of the tables of a schema in the database."""
    with schema.engine.connect() as connection:
        tables = {
            name: sa.Table(
                name, sa.MetaData(), schema="raw", autoload_with=connection, resolve_fks=False
            )
            for name in schema.declared
        }
        space = Workspace.open(connection, "work", STAGE)
        chosen = in_database.selection(space, schema.plan(**settings), tables)
        return {name: _facts(connection, name, rows) for name, rows in chosen.rows.items()}


def chosen_in_memory(
    schema: Schema, frames: Mapping[str, Any] | None = None, **settings: Any
) -> dict[str, Facts]:
    """Chooses a sample of the tables of a schema as frames, or of other frames."""
    types = {name: _types(schema, name) for name in schema.declared}
    chosen = in_memory.selection(schema.plan(**settings), frames or as_frames(schema), types)
    result: dict[str, Facts] = {}
    for name, rows in chosen.rows.items():
        result[name] = None
        if rows is not None:
            result[name] = {
                int(place): (
                    Role(rows.role[place]).word,
                    None if np.isnan(rows.probability[place]) else float(rows.probability[place]),
                    None if np.isnan(rows.probability[place]) else int(rows.unit[place]),
                    rows.reason[place],
                )
                for place in np.flatnonzero(rows.mask)
            }
    return result


def as_frames(schema: Schema) -> dict[str, pa.Table]:
    """Gives the tables of a schema, with their rows in the order in which they lie."""
    url = schema.engine.url.set(drivername="postgresql")
    with adbc.connect(url.render_as_string(hide_password=False)) as connection:
        return {name: read(connection, "raw", name).read_all() for name in schema.declared}


def _facts(connection: sa.Connection, name: str, rows: sa.TableClause | None) -> Facts:
    if rows is None:
        return None
    places = connection.scalars(
        sa.text(f"SELECT s.ctid::text FROM raw.{quoted(name)} s ORDER BY s.ctid")
    )
    place = {text: number for number, text in enumerate(places)}
    columns = (rows.c.role, rows.c.probability, rows.c.unit, rows.c.reason)
    found = connection.execute(sa.select(sa.cast(rows.c[TID], sa.Text), *columns))
    return {place[at]: (Role(role).word, *others) for at, role, *others in found}


def _types(schema: Schema, name: str) -> dict[str, str]:
    with schema.engine.connect() as connection:
        found = connection.execute(_TYPES, {"name": f"raw.{quoted(name)}"})
        return {row.attname: row.format_type for row in found}
