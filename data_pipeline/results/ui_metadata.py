"""What the Dagster UI shows of a table: rows, size, columns, a preview and the SQL."""

import re
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName

PREVIEW_ROWS = 8
PREVIEW_COLUMNS = 12
_CELL_CHARACTERS = 40

_COLUMNS = sa.text("""
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
       col_description(a.attrelid, a.attnum) AS comment
FROM pg_attribute a
WHERE a.attrelid = to_regclass(:relation) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
""")

_SIZE = sa.text("""
SELECT pg_total_relation_size(to_regclass(:relation)), row_security_active(to_regclass(:relation))
""")
# Nothing is computed from a preview, so it is no reason to refuse what is there already.
_HIDDEN = "(hidden by row security)"


@dataclass(frozen=True)
class TableFacts:
    """Facts about one relation, as metadata needs them."""

    columns: list[dg.TableColumn]
    bytes: int
    preview: str


def table_facts(
    connection: sa.Connection, relation: RelationName, primary_key: tuple[str, ...] = ()
) -> TableFacts:
    """Read columns, size and the first rows of a relation."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=column.type,
            description=column.comment,
            constraints=dg.TableColumnConstraints(
                nullable=not column.not_null, unique=primary_key == (column.name,)
            ),
        )
        for column in connection.execute(_COLUMNS, {"relation": relation.quoted})
    ]
    size, is_hidden = connection.execute(_SIZE, {"relation": relation.quoted}).one()
    preview = _HIDDEN if is_hidden else _preview(connection, relation, columns)
    return TableFacts(columns, int(size or 0), preview)


def table_metadata(
    facts: TableFacts, *, relation: RelationName, database: str | None, rows: int, seconds: float
) -> dict[str, Any]:
    """Return the metadata of a table's materialization."""
    parts = [database, relation.schema, relation.name]
    return {
        "dagster/row_count": rows,
        "dagster/table_name": ".".join(part for part in parts if part),
        "dagster/column_schema": dg.TableSchema(columns=facts.columns),
        "dagster/storage_kind": "postgresql",
        "bytes": facts.bytes,
        "seconds": round(seconds, 3),
        "preview": dg.MetadataValue.md(facts.preview),
    }


def sql_metadata(query: str) -> dict[str, Any]:
    """Return the metadata that shows a SQL asset's query."""
    longest = max((len(run) for run in re.findall("`+", query)), default=0)
    fence = "`" * max(3, longest + 1)
    return {"sql": dg.MetadataValue.md(f"{fence}sql\n{query}\n{fence}")}


def blob_metadata(obj: Any, *, path: str, size: int, seconds: float, kind: str) -> dict[str, Any]:
    """Return the metadata of a blob's materialization."""
    return {
        "dagster/storage_kind": kind,
        "bytes": size,
        "seconds": round(seconds, 3),
        "path": dg.MetadataValue.path(path),
        "type": f"{type(obj).__module__}.{type(obj).__qualname__}",
    }


def _preview(
    connection: sa.Connection, relation: RelationName, columns: list[dg.TableColumn]
) -> str:
    shown = columns[:PREVIEW_COLUMNS]
    if not shown:
        return "(no columns)"
    casts = [sa.cast(sa.column(column.name), sa.Text).label(column.name) for column in shown]
    table = sa.table(relation.name, schema=relation.schema)
    found = connection.execute(sa.select(*casts).select_from(table).limit(PREVIEW_ROWS))
    lines = [_line([column.name for column in shown]), _line(["---"] * len(shown))]
    lines += [_line(list(row)) for row in found]
    if len(columns) > len(shown):
        lines.append(f"\n… and {len(columns) - len(shown)} more columns")
    return "\n".join(lines)


def _line(cells: list[str | None]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str | None) -> str:
    if text is None:
        return "*NULL*"
    short = text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"
    return short.replace("\\", "\\\\").replace("|", "\\|").replace("\n", "⏎").replace("\r", "␍")
