"""Checks the invariants: those of `invariants.sql`, and those of the files of blobs."""

import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from data_pipeline.instances import Instance

Moment = Literal["always", "whole", "finished"]

_HEAD = re.compile(r"^-- (setup|always|whole|finished): (.+)$", re.MULTILINE)
_MAY_BE_MISSING = ("{catalog}.staged", "{catalog}.runs", "{catalog}.slots", "reports.expected")


@dataclass(frozen=True)
class Invariant:
    """Something that must hold: when, what, and the query that finds what breaks it."""

    moment: str
    name: str
    sql: str


def invariants() -> list[Invariant]:
    """Reads them."""
    text = Path(__file__).with_name("invariants.sql").read_text(encoding="utf-8")
    _, *parts = _HEAD.split(text)
    return [
        Invariant(moment, name, sql.strip().rstrip(";"))
        for moment, name, sql in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def broken(
    connection: sa.Connection,
    instance: Instance,
    *moments: Moment,
    generation: int | None = None,
    dropped: Sequence[str] = (),
) -> list[str]:
    """Names the invariants that do not hold, each with what breaks it.

    Args:
        connection: A transaction, which the caller rolls back; it makes commits of stages wait.
        instance: The instance.
        moments: Those that are to hold now.
        generation: That of the run that has finished, if it is known.
        dropped: Tables that were dropped by hand and not built again, as `stage/table`.
    """
    values = {
        "instance": instance.instance_id,
        "generation": generation,
        "dropped": list(dropped),
        "own_schemas": [instance.catalog_schema, instance.sample_schema],
    }
    # A commit writes the catalog: from here on, none can end before the transaction does.
    tables = f'"{instance.catalog_schema}".tables'
    connection.exec_driver_sql(f"LOCK TABLE {tables} IN SHARE MODE")
    return [
        *_by_sql(connection, instance, moments, values),
        *_of_blobs(connection, instance, moments, dropped),
    ]


def _by_sql(
    connection: sa.Connection, instance: Instance, moments: Sequence[str], values: dict[str, Any]
) -> Iterator[str]:
    for invariant in invariants():
        if invariant.moment == "setup":
            _execute_setup(connection, invariant.sql, values)
        elif invariant.moment in moments and _applies(connection, instance, invariant):
            query = sa.text(invariant.sql.replace("{catalog}", f'"{instance.catalog_schema}"'))
            used = {key: values[key] for key in query.compile().params}
            for line in connection.scalars(query, used):
                if line is not None:
                    yield f"{invariant.name}: {line}"


def _execute_setup(connection: sa.Connection, sql: str, values: dict[str, Any]) -> None:
    # A view takes no parameters.
    for name in ("instance", "own_schemas"):
        literal = sa.literal(values[name], sa.ARRAY(sa.Text) if name == "own_schemas" else sa.Text)
        text = str(literal.compile(connection, compile_kwargs={"literal_binds": True}))
        sql = sql.replace(f":{name}", text)
    connection.exec_driver_sql(sql, execution_options={"no_parameters": True})


def _applies(connection: sa.Connection, instance: Instance, invariant: Invariant) -> bool:
    """Whether the tables of which it speaks exist: some are only made when they are needed."""
    for name in _MAY_BE_MISSING:
        if name in invariant.sql:
            relation = name.replace("{catalog}", f'"{instance.catalog_schema}"')
            if connection.scalar(sa.select(sa.func.to_regclass(relation))) is None:
                return False
    return True


def _of_blobs(
    connection: sa.Connection, instance: Instance, moments: Sequence[str], dropped: Sequence[str]
) -> Iterator[str]:
    root = Path(instance.blob_store.base_path) / instance.instance_id
    catalog = f'"{instance.catalog_schema}"'
    query = f"SELECT stage, name, location FROM {catalog}.tables WHERE kind = 'blob'"
    referenced = set()
    for stage, name, location in connection.execute(sa.text(query)):
        referenced.add(root / location)
        if not (root / location).is_file():
            if f"{stage}/{name}" not in dropped:
                yield f"every blob in the catalog has its file: {stage}/{name}, {location}"
        elif "whole" in moments:
            blob = pickle.loads((root / location).read_bytes())
            yield from _mixed(connection, stage, name, blob.get("generation"))
    if "finished" in moments:
        slots = f"{catalog}.slots"
        if connection.scalar(sa.select(sa.func.to_regclass(slots))) is not None:
            query = f"SELECT location FROM {slots} WHERE kind = 'blob'"
            referenced |= {root / location for location in connection.scalars(sa.text(query))}
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            if file not in referenced:
                yield f"every file of a blob is referred to: {file.relative_to(root)}"


def _mixed(
    connection: sa.Connection, stage: str, name: str, generation: int | None
) -> Iterator[str]:
    if generation is None:
        return
    if generation == -1:
        yield f"no result was made from inputs of several generations: blob {stage}/{name}"
    query = sa.text("SELECT DISTINCT generation FROM generations WHERE stage = :stage")
    if others := set(connection.scalars(query, {"stage": stage})) - {generation}:
        yield (
            f"a blob has the generation of its stage: {stage}/{name} has {generation}, "
            f"its stage {sorted(others)}"
        )
