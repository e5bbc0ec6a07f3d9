"""Why a row is in a sample, or is not: what the roles table says of it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError, TableNotFoundError
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.sampling.engine.masks import masked
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.report.figures.figure import Compared
from data_pipeline.sampling.weights import ROW_HASH

_DRAWN = (None, "certain", "sampled")
"""Roles of rows that are drawn, with the row they belong to or by themselves, or were not."""


def explain(
    connection: sa.Connection, plan: SamplePlan, table: Compared, values: Sequence[str]
) -> Iterator[str]:
    """Return the explanation of a row of the source, line by line.

    Args:
        connection: To the database.
        plan: What the sample was chosen by.
        table: The table.
        values: Those of the primary key in order, or `column=value` for any columns.

    Raises:
        ConfigurationError: The values name no column, are of another type, or fit several rows.
        TableNotFoundError: There is no such row.
    """
    owner = plan.tables[table.name].owner
    columns = owner.columns if owner else ()
    masks = plan.masks.get(table.name, {})
    key, above = _find(connection, table, values, columns, masks)
    facts = _facts(connection, table, key)
    role = None if facts is None else facts.role
    shown = _listed({name if table.key else "row with hash": key[name] for name in key})
    yield f"{table.name} ({shown}) is {_said(facts)}"
    if role is None:
        yield "  nothing in the sample refers to it, no pin names it, and it is no witness"
    if plan.is_minimal:
        yield "  the sample is minimal: the least that keeps joins non-empty, and pins"
    elif role in _DRAWN and owner and None not in above:
        pairs = _listed(dict(zip(owner.referenced_columns, above, strict=True)))
        yield f"  rows of {table.name} are drawn with those of {owner.parent}, here ({pairs})"
    elif role in _DRAWN and (root := plan.roots.get(table.name)) is not None:
        wanted = f"rate {root.rate}" if root.rows is None else f"{root.rows:,} rows"
        if isinstance(plan.settings.size, Budget) and root.rate is None and root.rows is None:
            wanted = f"the rate that fits the size {plan.settings.size}"
        yield (
            f"  rows of {table.name} are drawn by the hash of their key: {wanted}, salt {plan.salt}"
        )


def _said(facts: Any) -> str:
    if facts is None:
        return "not in the sample"
    weight = "no weight"
    if facts.probability:
        chance, counts = f"{facts.probability:.6g}", f"{1 / facts.probability:.6g}"
        weight = f"inclusion probability {chance}, weight {counts}"
    reason = f" ({facts.reason})" if facts.reason not in (None, facts.role) else ""
    return f"in the sample: {facts.role}{reason}, {weight}"


def _find(
    connection: sa.Connection,
    table: Compared,
    values: Sequence[str],
    columns: Sequence[str],
    masks: Mapping[str, str],
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Return what a row of the source is told by in the roles, and its values of some columns."""
    wanted, rows = _by_column(table, values), table.source
    names = table.key or (ROW_HASH,)
    identity: list[sa.ColumnElement[Any]] = [
        masked(masks[name], rows.c[name].type) if name in masks else rows.c[name]
        for name in table.key
    ]
    identity = identity or [key_hash_sql(list(rows.c), 0)]
    conditions = [
        rows.c[name] == sa.cast(sa.literal(text, sa.Text), rows.c[name].type)
        for name, text in wanted.items()
    ]
    own = [column.label(f"own_{i}") for i, column in enumerate(identity)]
    others = [rows.c[name].label(f"other_{i}") for i, name in enumerate(columns)]
    query = sa.select(*own, *others).where(*conditions).distinct().limit(2)
    try:
        found = [tuple(row) for row in connection.execute(query)]
    except sa.exc.DataError as error:
        diagnosis = getattr(error.orig, "diag", None)
        reason = getattr(diagnosis, "message_primary", None) or error.orig
        raise ConfigurationError(
            f"`{table.name}`: PostgreSQL says {reason}. Give values of the columns' types: "
            f"{_types(table, wanted)}."
        ) from None
    if not found:
        raise TableNotFoundError(
            f"The source of `{table.name}` has no row with {_listed(wanted)}. Correct the key."
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"`{table.name}` has several rows with {_listed(wanted)}. Name more columns, as "
            "column=value."
        )
    row = found[0]
    return dict(zip(names, row[: len(own)], strict=True)), row[len(own) :]


def _facts(connection: sa.Connection, table: Compared, key: Mapping[str, Any]) -> Any:
    facts = (table.fact(name).label(name) for name in ("role", "probability", "reason"))
    same = (table.roles.c[name] == value for name, value in key.items())
    return connection.execute(sa.select(*facts).where(*same)).first()


def _by_column(table: Compared, values: Sequence[str]) -> dict[str, str]:
    columns = list(table.source.c.keys())
    if values and all(text.partition("=")[0] in columns and "=" in text for text in values):
        return {text.partition("=")[0]: text.partition("=")[2] for text in values}
    if table.key and len(values) == len(table.key):
        return dict(zip(table.key, values, strict=True))
    if not table.key:
        raise ConfigurationError(
            f"`{table.name}` has no primary key. Name its row by columns, as column=value: "
            f"{', '.join(columns)}."
        )
    raise ConfigurationError(
        f"`{table.name}`: {len(values)} value(s) are no key. Give those of the primary key "
        f"({', '.join(table.key)}) in this order, or column=value for any of its columns: "
        f"{', '.join(columns)}."
    )


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _types(table: Compared, names: Mapping[str, str]) -> str:
    from data_pipeline.database.identifiers import DIALECT

    columns = table.source.c
    return ", ".join(f"`{name}` {columns[name].type.compile(DIALECT)}" for name in names)
