"""The raw tables of a source as assets: made from its catalog file, loaded when they are run."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.database.identifiers import op_names
from data_pipeline.definition_metadata import kept
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import RAW_TAG
from data_pipeline.instances.merged_layers import suggestion
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.runs.dagster_plan import planned_assets
from data_pipeline.runs.run_end import at_run_end
from data_pipeline.sources.declared_sources import (
    CATALOG_FILE_KEY,
    NOT_LOADED,
    SOURCE_TABLE_KEY,
    DeclaredSource,
    changed,
    differences,
)
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline.sources.read_ahead import ReadAhead, watched
from data_pipeline.sources.source import Reading, Source, uncounted_remedy
from data_pipeline.sources.source_catalog import SourceCatalog, SourceRelation
from data_pipeline.store.table_properties import METADATA_KEY, Declared, Properties, properties
from data_pipeline.transfer.progress import reporter

VIEWS = frozenset({"view", "materialized view"})
"""Kinds of tables that are loaded only where they are named."""


@dataclass(frozen=True)
class Wishes:
    """What the user says of the tables of a source.

    Attributes:
        updated_at: The column with the time of a row's last change: of all tables that have it, or
            by table.
        every_run: Tables that are loaded in every run.
        properties: What is said of tables beyond their catalog.
        at_once: How many are read at once.
        owners: Owners of the raw tables.
    """

    updated_at: str | Mapping[str, str] | None = None
    every_run: tuple[str, ...] = ()
    properties: Mapping[str, Declared] = field(default_factory=dict)
    at_once: int = 4
    owners: Sequence[str] | None = None


def raw_assets(declared: DeclaredSource, wishes: Wishes) -> list[dg.AssetsDefinition]:
    """Return the assets of a source's tables, all made by one step.

    Raises:
        ConfigurationError: There is no catalog file, something is said of a table that it does not
            have, or nothing tells whether a table has new rows.
    """
    from data_pipeline.instances.partitions import INSTANCE_PARTITIONS

    loading = _Loading.of(declared, wishes)

    def asset(name: str) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name=f"{declared.stage}__{loading.names[name]}",
            outs={loading.names[name]: loading.out(loading.tables[name])},
            partitions_def=INSTANCE_PARTITIONS,
            required_resource_keys={"instance", "io_manager"},
        )
        def load(context: dg.AssetExecutionContext) -> Any:
            return loading.rows(name, context)

        return load

    return [asset(name) for name in loading.tables]


@dataclass(frozen=True)
class _Loading:
    """Loads tables of one source.

    Attributes:
        declared: The source.
        wishes: What the user says of its tables.
        catalog: Its catalog file.
        tables: The tables that are loaded.
        names: The names of their raw tables.
        said: The user's properties, checked.
    """

    declared: DeclaredSource
    wishes: Wishes
    catalog: SourceCatalog
    tables: Mapping[str, SourceRelation]
    names: Mapping[str, str]
    said: Mapping[str, Properties]

    @classmethod
    def of(cls, declared: DeclaredSource, wishes: Wishes) -> "_Loading":
        """Check what the user says against the catalog."""
        catalog = declared.catalog()
        tables = _chosen(declared, catalog)
        said = {name: properties(**given) for name, given in wishes.properties.items()}
        loading = cls(declared, wishes, catalog, tables, raw_names(tables), said)
        loading.check()
        return loading

    def check(self) -> None:
        """Check that all that the user says is of a table that is loaded.

        Raises:
            ConfigurationError: It is not, or nothing tells whether a table has new rows.
        """
        wishes = self.wishes
        by_table = wishes.updated_at if isinstance(wishes.updated_at, Mapping) else {}
        for argument, names in (
            ("updated_at", by_table),
            ("every_run", wishes.every_run),
            ("properties", wishes.properties),
        ):
            for name in names:
                _check_known(f"{self.declared.place}: {argument}", "table", name, self.tables)
        for name, column in by_table.items():
            columns = [item.name for item in self.tables[name].columns]
            what = f"{self.declared.place}: updated_at"
            _check_known(what, f"column of `{name}`", column, columns)
        unknown = [
            table
            for table in self.tables.values()
            if table.uncounted and table.name not in wishes.every_run and not self.updated_at(table)
        ]
        if unknown:
            reasons = ", ".join(f"`{table.name}` ({table.uncounted})" for table in unknown)
            raise ConfigurationError(
                f"{self.declared.place}: nothing tells whether these tables have new rows: "
                f"{reasons}. {uncounted_remedy(unknown)} Or leave them out: tables=[...]."
            )

    def updated_at(self, table: SourceRelation) -> str | None:
        """Return the column that tells when a row was changed, if the user named one."""
        named = self.wishes.updated_at
        if isinstance(named, Mapping):
            return named.get(table.name)
        return named if any(column.name == named for column in table.columns) else None

    def properties(self, table: SourceRelation) -> Properties:
        """Return the properties of a raw table: those of its catalog, and what the user says."""
        known, said = table.properties(self.names), self.said.get(table.name, Properties())
        return replace(
            known.merged(said),
            types={**known.types, **said.types},
            columns={**known.columns, **said.columns},
            foreign_keys=tuple(dict.fromkeys((*known.foreign_keys, *said.foreign_keys))),
        )

    def out(self, table: SourceRelation) -> dg.AssetOut:
        """Return the definition of a raw table."""
        declared = self.properties(table)
        is_always = table.name in self.wishes.every_run
        source = outside_input() if is_always else outside_input(partial(self.fingerprint, table))
        return dg.AssetOut(
            key=dg.AssetKey([self.declared.stage, self.names[table.name]]),
            description=table.comment or f"The {table.kind} `{table.name}` of the source.",
            is_required=False,
            group_name=self.declared.stage,
            owners=self.wishes.owners,
            tags={RAW_TAG: ""},
            kinds={"source"},
            code_version=table.version,
            metadata={
                METADATA_KEY: kept(declared.as_json(), declared.in_words()),
                CATALOG_FILE_KEY: str(self.declared.file),
                SOURCE_TABLE_KEY: table.name,
                **source,
            },
        )

    def fingerprint(self, table: SourceRelation) -> Any:
        """Return what changes when the rows of a table do, or what they look like."""
        source = self.declared.location.connect()
        now = source.present(table)
        if now is None:
            return "gone"
        known = {column.name for column in table.columns}
        seen = replace(now, columns=tuple(c for c in now.columns if c.name in known))
        return [seen.version, source.fingerprint(table, self.updated_at(table))]

    def rows(self, name: str, context: dg.AssetExecutionContext) -> Any:
        """Return the rows of a table: a query or a stream where they are stored, else a frame.

        Raises:
            SourceError: The table is not what its catalog says.
        """
        from data_pipeline.io_manager.io_manager import TableIOManager

        source, table = self.declared.location.connect(), self.tables[name]
        found = differences(self.catalog, source, name)
        for line in found.added:
            context.log.warning(f"{source.named}: {line}. {NOT_LOADED}")
        if found.refused:
            raise changed(source.named, found)
        as_text = {n: frozenset(p.types) for n, p in self.said.items()}
        how = Reading(at_once=self.wishes.at_once, as_text=as_text)
        if not isinstance(context.resources.io_manager, TableIOManager):
            with source.reading(replace(how, as_frames=True)) as open_:
                return _frame(open_(table))
        within = source.within(table, context.resources.instance.current, how)
        if within is None:
            return self._stream(source, how, name, context)
        if isinstance(within, RangedRows):
            at_run_end(context.run.run_id, within.ended)
        return within

    def _stream(
        self, source: Source, how: Reading, name: str, context: dg.AssetExecutionContext
    ) -> Any:
        """Return the rows of a table; others that the run loads are read at the same time."""
        key = context.run.run_id, self.declared.file
        ahead = _open.get(key)
        if ahead is None or name not in ahead:
            tables = [self.tables[name]] if ahead else self._planned(context)
            ahead = _open[key] = ReadAhead(source.reading(how), tables, self.wishes.at_once)
            at_run_end(context.run.run_id, partial(_close, key))
        rows = ahead.take(name)
        if isinstance(rows, RangedRows):
            return rows
        return watched(rows, name, reporter(context.log, f"Loading `{name}`"))

    def _planned(self, context: dg.AssetExecutionContext) -> list[SourceRelation]:
        """Return the tables of the source that the run loads in this process."""
        keys = planned_assets(context.op_execution_context.get_step_execution_context())
        raw = [key.path[-1] for key in keys if key.path[0] == self.declared.stage]
        names = {name: table for table, name in self.names.items()}
        return [self.tables[names[name]] for name in raw if name in names]


_open: dict[tuple[str, Path], ReadAhead] = {}
"""What steps of runs in this process read, by run and catalog file."""


def _close(key: tuple[str, Path]) -> None:
    if (ahead := _open.pop(key, None)) is not None:
        ahead.close()


def _frame(stream: Any) -> Any:
    import pandas as pd

    from data_pipeline.transfer.frames import from_reader

    return from_reader(stream, pd.DataFrame)


def _chosen(declared: DeclaredSource, catalog: SourceCatalog) -> Mapping[str, SourceRelation]:
    """Return the tables that are loaded: those that are named, or all but views."""
    if declared.tables is None:
        chosen = {n: t for n, t in catalog.tables.items() if t.kind not in VIEWS}
    else:
        for name in declared.tables:
            _check_known(f"{declared.place}: tables", "table", name, catalog.tables)
        chosen = {name: catalog.tables[name] for name in declared.tables}
    if not chosen:
        raise ConfigurationError(
            f"{declared.place}: the source has no tables. Name views or another schema: "
            'tables=["..."], schema="...".'
        )
    return chosen


def _check_known(place: str, what: str, name: Any, known: Iterable[str]) -> None:
    if name not in known:
        raise ConfigurationError(
            f"{place} names `{name}`, which is no {what} that is known. {suggestion(name, known)} "
            "What is new in the source is known after `data-pipeline source refresh`."
        )


def raw_names(tables: Iterable[str]) -> Mapping[str, str]:
    """Return names for raw tables: letters without accents, digits and underscores.

    Dagster takes no others for checks of assets and for dependencies.
    """
    folded = {name: without_accents(name) for name in tables}
    found: dict[str, str] = {}
    for name, plain in folded.items():
        raw = name if name == plain else plain or "table"
        raw = next(iter(op_names([raw]).values()))
        while raw in found.values() or (raw != name and raw in folded):
            raw += "_"
        found[name] = raw
    return found


def without_accents(name: str) -> str:
    """Return a name in the letters that Dagster and packages may have."""
    parts = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    return parts.encode("ascii", "ignore").decode()
