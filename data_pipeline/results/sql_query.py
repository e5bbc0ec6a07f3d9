"""Text SQL that refers to tables by name: `sql_query` and `sql_file`."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGCompiler

from data_pipeline.database.identifiers import DIALECT, MAX_IDENTIFIER_BYTES, StageTable, quoted
from data_pipeline.database.sql_text import parts, with_code, without_final_semicolon
from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.store.table_properties import Properties, Table, View

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def sql_query(text: str, **relations: sa.FromClause) -> sa.TextClause:
    """Return a text SQL query in which `{name}` stands for a table.

    Example: `sql_query("SELECT * FROM {flights} WHERE month = 1", flights=flights)`.

    Args:
        text: One SELECT. Braces around anything but a name stay as they are, and so do those in
            texts, quoted names and comments.
        relations: The tables, as they arrive at an asset's `sa.Table` parameters.

    Raises:
        ConfigurationError: A placeholder has no table, or a table no placeholder.
    """
    code = " ".join(part.text for part in parts(text) if part.kind == "code")
    used = set(_PLACEHOLDER.findall(code))
    if missing := used - relations.keys():
        raise ConfigurationError(
            f"SQL query: no table given for {_listed(missing)}; "
            f"given are {_listed(relations.keys()) or 'none'}. Pass it as a keyword argument."
        )
    if unused := relations.keys() - used:
        raise ConfigurationError(
            f"SQL query: {_listed(unused)} given but not used. "
            "Write it in braces where the table's name belongs, or leave the argument out."
        )
    named = with_code(
        text, lambda code: _PLACEHOLDER.sub(lambda match: _qualified(relations[match[1]]), code)
    )
    # Everything is literal: a colon is no bind parameter here.
    return sa.text(named.replace(":", r"\:"))


def sql_file(path: str | Path, **relations: sa.FromClause) -> sa.TextClause:
    """Return the query in a file; a relative path starts at the folder of the calling module.

    Raises:
        ConfigurationError: The file is missing, or as in `sql_query`.
    """
    full = Path(path)
    if not full.is_absolute():
        full = Path(inspect.stack()[1].filename).parent / full
    try:
        text = full.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"SQL file `{full}` cannot be read: {error.strerror}.") from error
    return sql_query(text, **relations)


def compiled(query: Any) -> str:
    """Return the SQL of a query with every literal in place, as one statement without a semicolon.

    Raises:
        ConfigurationError: A bind parameter has no value, or a value no literal form.
    """
    statement = query.select() if isinstance(query, sa.FromClause) else query
    try:
        written = _Written(DIALECT, statement, compile_kwargs={"literal_binds": True})
    except sa.exc.CompileError as error:
        raise ConfigurationError(
            f"A query cannot be written out as SQL: {error}. "
            "Give every bind parameter a value of a type that has a literal form."
        ) from error
    if written.missing:
        raise ConfigurationError(
            f"SQL query: the bind parameter {_listed(written.missing)} has no value. Give it one "
            "with `.bindparams(...)`. A colon that is no parameter is written `\\:` in `sa.text`, "
            "or as it is in `sql_query`."
        )
    return without_final_semicolon(str(written))


class _Written(PGCompiler):
    """A query with its values, and the names of the parameters that have none."""

    missing: frozenset[str] = frozenset()

    def visit_bindparam(self, bindparam: Any, *settings: Any, **more: Any) -> Any:
        if bindparam.required:  # SQLAlchemy would write NULL
            self.missing |= {bindparam.key}
            return "NULL"
        # SQLAlchemy has no types there.
        return super().visit_bindparam(bindparam, *settings, **more)  # type: ignore[no-untyped-call]

    def _truncated_identifier(self, ident_class: str, name: Any) -> str:
        # SQLAlchemy cuts columns of subqueries off six characters before PostgreSQL does.
        whole: str = name.apply_map(self.anon_map)
        if len(whole.encode()) <= MAX_IDENTIFIER_BYTES:
            return whole
        return super()._truncated_identifier(ident_class, name)


def has_long_names(query: str) -> bool:
    """Tell whether a query may name columns that PostgreSQL would cut."""
    words = re.findall(r'"[^"]+"|[\w$]+', query)
    return any(len(word.encode()) > MAX_IDENTIFIER_BYTES - 4 for word in words)


def check_aliases(table: StageTable, query: str, columns: Sequence[str]) -> None:
    """Refuse a query with longer names of columns than PostgreSQL keeps: it cuts them in silence.

    Args:
        table: Stage and name of the asset.
        query: The query.
        columns: The columns that it gave.

    Raises:
        UnsupportedDataError: A column is the beginning of a name in the query.
    """
    # A character of several bytes is not cut into.
    cut = [name for name in columns if len(name.encode()) > MAX_IDENTIFIER_BYTES - 4]
    for name in cut:
        longer = rf'"{re.escape(name)}[^"]+"|(?<![\w"]){re.escape(name)}[\w$]+'
        if found := re.search(longer, query, re.IGNORECASE):
            alias = found.group().strip('"')
            raise UnsupportedDataError(
                f"Table `{table}`: the query names a column `{alias}`, which has "
                f"{len(alias.encode())} bytes, but PostgreSQL allows {MAX_IDENTIFIER_BYTES} and "
                f"would cut it to `{name}`. Shorten the alias."
            )


def _qualified(relation: sa.FromClause) -> str:
    if isinstance(relation, sa.Table):
        parts = (relation.schema, relation.name) if relation.schema else (relation.name,)
        return quoted(*parts)
    raise ConfigurationError(
        f"SQL query: {relation!r} is not a table but {type(relation).__name__}. "
        "Annotate the asset's parameter with `sa.Table`."
    )


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


_RETURN = "Return a data frame, a SQL query, `Table(...)`, or an object that can be pickled."


def unwrapped(obj: Any, declared: Properties) -> tuple[Any, Properties]:
    """Take a result out of its `Table(...)`, which goes before the asset's declaration."""
    while isinstance(obj, Table):
        obj, declared = obj.obj, declared.merged(obj.properties)
    return View(obj) if declared.view and is_query(obj) else obj, declared


def is_query(obj: Any) -> bool:
    """Whether a result is a query to be run inside the database."""
    return isinstance(obj, sa.TextClause | sa.FromClause | sa.SelectBase | sa.ScalarSelect)


def check_supported(table: StageTable, obj: Any, properties: Properties) -> None:
    """Refuse results that are neither a table nor meant to be kept.

    Args:
        table: Stage and name of the asset.
        obj: The result, taken out of its `Table(...)`.
        properties: What the asset says of its table.

    Raises:
        UnsupportedDataError: The asset returned nothing, or something of which no table is made.
    """
    from data_pipeline.transfer.frames import is_frame

    name = _type_name(obj)
    if obj is None:
        raise UnsupportedDataError(
            f"Asset `{table}` returned None, so there is nothing to store. {_RETURN} An asset that "
            "stores nothing says so with the annotation `-> None`."
        )
    if name.split(".")[0] in ("pandas", "polars") and name.endswith(("Series", "Index")):
        raise UnsupportedDataError(
            f"Asset `{table}` returned a {name}, which has no columns. Return a data frame, for "
            "instance `series.to_frame()`."
        )
    if isinstance(obj, sa.ClauseElement) and not is_query(obj):
        raise UnsupportedDataError(
            f"Asset `{table}` returned a {name}, which is no SELECT. The pipeline writes the table "
            f"itself; {_RETURN[0].lower()}{_RETURN[1:]}"
        )
    if inspect.isgenerator(obj) or inspect.iscoroutine(obj) or inspect.isfunction(obj):
        raise UnsupportedDataError(f"Asset `{table}` returned a {name}. {_RETURN}")
    if isinstance(obj, View) and not is_query(obj.source):
        raise UnsupportedDataError(
            f"Asset `{table}` returned a View of a {_type_name(obj.source)}, which a view cannot "
            "show. Give View a table or a SQL query; rows are returned as they are, and become a "
            "table."
        )
    is_table = is_query(obj) or is_frame(obj) or isinstance(obj, View | RangedRows)
    if not properties.is_plain and not is_table:
        raise UnsupportedDataError(
            f"Asset `{table}` has properties of a table, but what it returned is a {name}. Return "
            "a data frame or a SQL query, or leave out `Table(...)` and `table_properties(...)`."
        )


def _type_name(obj: Any) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}"
