"""What a step that samples is asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance, project
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_by
from data_pipeline.results.sql_query import compiled
from data_pipeline.store.lookup import made_from
from data_pipeline.store.table_properties import Properties

Versions = Mapping[str, str | None]
"""Data versions by `instance/stage/table`; None where one is not known."""


Query = sa.SelectBase | sa.TextClause | sa.FromClause


@dataclass(frozen=True)
class OwnRows:
    """The rows of a source table that a function of the user leaves to choose from.

    Attributes:
        query: The query for them.
        reads: The input tables behind whose sources it looks.
    """

    query: Query
    reads: frozenset[str]

    def of(self, source: sa.Table) -> sa.Select[Any]:
        """Return the query for them with the columns of the source, in their order."""
        columns = [sa.column(column.name, column.type) for column in source.c]
        rows = sa.text(f"(\n{compiled(self.query)}\n) AS own".replace(":", r"\:"))
        return sa.select(*columns).select_from(rows)


Own = Callable[[Mapping[str, sa.Table]], Mapping[str, OwnRows]]
"""Gives, of the source tables, the rows of those of which not all are there to choose from."""


@dataclass(frozen=True)
class Request:
    """What a step is to give.

    Attributes:
        instance: The instance.
        stage: The stage of the input tables.
        raw: The raw table behind each input table, in order of declaration.
        declared: What the raw assets declare of them.
        tables: The input tables that are asked for.
        roles: Those whose roles are asked for.
        forced: Whether everything is to be chosen anew.
        stable: Whether tables that are there stay as they are, whatever their source has become.
        own: What the rows are chosen from; None: all rows.
    """

    instance: Instance
    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]
    tables: frozenset[str]
    roles: frozenset[str] = frozenset()
    forced: bool = False
    stable: bool = False
    own: Own | None = None

    @property
    def source(self) -> Instance:
        """The instance that the rows come from.

        Raises:
            ConfigurationError: It has only a part of the rows, so probabilities would be wrong.
        """
        source = self.instance.source
        if source is None:
            raise AssertionError("what loads for itself has no sample")
        # Found out when everything is loaded, but for assets without `instance_definitions`.
        if (thin := thinned_by(source, self.stage, self.raw)) is not None:
            what, remedy = reason_and_remedy(self.instance, thin)
            raise ConfigurationError(f"Stage `{self.stage}`: {what}. {remedy}")
        return source

    @property
    def place(self) -> str:
        """What tells its working tables from those of other pipelines that share the stage."""
        return ", ".join([self.stage, *sorted(map(str, self.raw.values()))])

    @property
    def origins(self) -> Mapping[str, StageTable]:
        """The table of the source behind each input table."""
        return {
            name: made_from(self.instance, raw, StageTable(self.stage, name))[1]
            for name, raw in self.raw.items()
        }


@contextmanager
def naming_instance(instance: Instance) -> Iterator[None]:
    """Say of what is wrong in a sample's settings in which file it stands, and of which instance.

    Raises:
        ConfigurationError: With that, where one began with the name of a setting.
    """
    try:
        yield
    except ConfigurationError as error:
        if not str(error).startswith(("sample.", "sample:")):
            raise
        where = f"{project.configuration_name()}: instances.{instance.name}.attrs"
        raise ConfigurationError(f"{where}.{error}") from error.__cause__
