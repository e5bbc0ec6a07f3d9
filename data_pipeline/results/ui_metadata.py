"""What the Dagster UI shows of a result: rows, size, columns, a preview, the SQL, and figures.

The libraries that draw are not imported here: an object of theirs brings what it takes along.
"""

import base64
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.instances import Instance
from data_pipeline.results.build import facts_sql
from data_pipeline.results.column_lineage import Lineage, lineage_metadata, of_copy, of_query
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed

PREVIEW_ROWS = 8
PREVIEW_COLUMNS = 12
_CELL_CHARACTERS = 40

_MOST_PICTURE_BYTES = 1_000_000
"""Larger pictures would make Dagster's event log slow; the blob has them as they are."""

# Nothing is computed from a preview, so it is no reason to refuse what is there already.
_HIDDEN = "(hidden by row security)"


@dataclass(frozen=True)
class TableFacts:
    """Facts about one relation, as metadata needs them."""

    columns: list[dg.TableColumn]
    bytes: int
    preview: str


def read_facts(
    connection: sa.Connection, relation: RelationName, primary_key: tuple[str, ...] = ()
) -> TableFacts:
    """Read columns, size and the first rows of a relation."""
    query = f"SELECT {facts_sql(f'to_regclass({literal(relation.quoted)})')}"
    return table_facts(connection, relation, run(connection, query).scalar_one(), primary_key)


def table_facts(
    connection: sa.Connection,
    relation: RelationName,
    found: Mapping[str, Any],
    primary_key: tuple[str, ...] = (),
) -> TableFacts:
    """Return columns and size of a relation, given the value of `facts_sql`, and its first rows."""
    columns = [
        dg.TableColumn(
            name=name,
            type=kind,
            description=comment,
            constraints=dg.TableColumnConstraints(
                nullable=not not_null, unique=primary_key == (name,)
            ),
        )
        for name, kind, not_null, comment in found["columns"] or ()
    ]
    preview = _HIDDEN if found["is_hidden"] else _preview(connection, relation, columns)
    return TableFacts(columns, int(found["bytes"] or 0), preview)


def relation_metadata(
    connection: sa.Connection,
    instance: Instance,
    row: CatalogRow,
    facts: TableFacts,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Return the metadata of a table's materialization.

    Args:
        connection: Asked for the columns of the inputs where a query does not name them.
        instance: Whose table.
        row: Its catalog row.
        facts: What was read of it.
        seconds: How long it took to build; None where that is not known.
    """
    relation = committed(instance, row.table)
    parts = [connection.engine.url.database, relation.schema, relation.name]
    figures = {
        "dagster/row_count": row.row_count,
        "seconds": None if seconds is None else round(seconds, 3),
    }
    query = {} if row.query is None else sql_metadata(row.query)
    return {
        **{name: value for name, value in figures.items() if value is not None},
        "dagster/table_name": ".".join(part for part in parts if part),
        "dagster/column_schema": dg.TableSchema(columns=facts.columns),
        "dagster/storage_kind": "postgresql",
        "bytes": facts.bytes,
        "preview": dg.MetadataValue.md(facts.preview),
        **lineage_metadata(_lineage(connection, instance, row, facts)),
        **query,
    }


def _lineage(
    connection: sa.Connection, instance: Instance, row: CatalogRow, facts: TableFacts
) -> Lineage:
    columns = [column.name for column in facts.columns]
    if row.query is not None:
        # An instance that copies a copy reads the table of its own name.
        itself = f"/{row.table}"
        inputs = [name for name in row.inputs if not name.endswith(itself)]
        return of_query(connection, instance, row.query, inputs, columns)
    if row.kind == "view" and len(row.inputs) == 1:
        [source] = row.inputs
        return of_copy(StageTable(*source.split("/", 2)[1:]), columns)
    return {}


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
    texts = ", ".join(f"{quoted(column.name)}::text" for column in shown)
    found = run(connection, f"SELECT {texts} FROM {relation.quoted} LIMIT {PREVIEW_ROWS}")
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


def several_metadata(each: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Return the metadata of an asset with several tables, given that of each."""
    rows = {name: facts.get("dagster/row_count", 0) for name, facts in each.items()}  # 0: a view
    lines = [
        f"| `{facts['dagster/table_name']}` | {rows[name]:,} | {facts['bytes']:,} |"
        for name, facts in sorted(each.items())
    ]
    listed = "\n".join(["| table | rows | bytes |", "|---|---:|---:|", *lines])
    return {
        "tables": dg.MetadataValue.md(listed),
        "dagster/row_count": sum(rows.values()),
        "dagster/storage_kind": "postgresql",
        "bytes": sum(facts["bytes"] for facts in each.values()),
        "seconds": seconds,
    }


def figure_metadata(obj: Any) -> dict[str, Any]:
    """Return the metadata that shows an object that is a figure; none for another one."""
    draw = _drawing(obj)
    if draw is None:
        return {}
    try:
        picture = draw()
    except Exception as error:  # libraries that draw are optional, and figures may be broken
        first = next(iter(str(error).splitlines()), "")
        return {"figure": f"It cannot be drawn here: {type(error).__name__}: {first}"}
    if len(picture) > _MOST_PICTURE_BYTES:
        return {"figure": f"It is not shown, since its picture has {len(picture):,} bytes."}
    text = base64.b64encode(picture).decode()
    return {"figure": dg.MetadataValue.md(f"![figure](data:image/png;base64,{text})")}


def _drawing(obj: Any) -> Callable[[], bytes] | None:
    """Return what draws a figure as PNG."""
    for kind in type(obj).__mro__:
        library, name = kind.__module__.partition(".")[0], kind.__name__
        if (library, name) == ("matplotlib", "Figure"):
            return lambda: _saved(obj.savefig, bbox_inches="tight", dpi=90)
        if (library, name) == ("altair", "TopLevelMixin"):
            return lambda: _saved(obj.save)
        if (library, name) == ("plotly", "BaseFigure"):
            return lambda: bytes(obj.to_image(format="png"))
    return None


def _saved(save: Callable[..., object], **options: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, format="png", **options)
    return buffer.getvalue()
