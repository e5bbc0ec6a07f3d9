"""Comparing two relations as the comparison of two versions does."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.difference.compare import ComparisonOptions, compare_table
from data_pipeline.difference.result import TableDifference
from data_pipeline.difference.snapshot import BEGINNING
from data_pipeline.difference.versions import TableVersion
from data_pipeline.instances import load_configuration
from data_pipeline.store.catalog import CatalogRow


def compared(
    connection: sa.Connection,
    before: str,
    after: str,
    key: Sequence[str] = (),
    *,
    code: str | None = None,
    **options: Any,
) -> TableDifference:
    """Compares two relations of the schema public, both made by some code."""
    instance = load_configuration().instance("full")

    def version(name: str) -> TableVersion:
        count = int(run(connection, f"SELECT count(*) FROM public.{name}").scalar_one())
        row = CatalogRow(
            "s",
            "t",
            "table",
            name,
            code_version=code,
            properties={"primary_key": list(key)},
            row_count=count,
        )
        return TableVersion(instance, row, RelationName("public", name))

    table = StageTable("s", "t")
    return compare_table(
        connection, table, version(before), version(after), ComparisonOptions(**options)
    )


def compared_alone(
    before: str, after: str, key: Sequence[str] = (), **options: Any
) -> TableDifference:
    """Compares two relations in a transaction of its own."""
    with database(load_configuration().instance("full")).begin() as connection:
        run(connection, BEGINNING)
        return compared(connection, before, after, key, **options)
