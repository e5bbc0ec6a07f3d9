"""`copy_inputs`: the input tables of an instance by queries of one's own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.code_version.code_version import code_version_of
from data_pipeline.copies_of_related_tables import OWN_COPY
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, Instance, load_configuration
from data_pipeline.instances.merged_layers import suggestion
from data_pipeline.results.build import build_from_batches
from data_pipeline.results.sql_query import compiled, is_query, unwrapped
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.filtered_frames import filtered
from data_pipeline.sampling.input_step import (
    CopiedRows,
    InputOutput,
    InputRun,
    InputStep,
    OutputKind,
    input_asset,
    input_outputs,
    raw_specs,
)
from data_pipeline.sampling.plan.sample_plan import has_root
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.sampling.sample_request import OwnRows, Query
from data_pipeline.sampling.scratch_schema import scratch_schema
from data_pipeline.store.reading import reference, stream
from data_pipeline.store.table_properties import (
    Properties,
)
from data_pipeline.transfer.frames import from_reader, to_reader
from data_pipeline.transfer.stable_hash import fingerprint

_ALL = CopyFilter(rate=1.0)

Filter = Callable[["InputCopy"], Mapping[str, Query]]


@dataclass(frozen=True)
class InputCopy:
    """What a function under `copy_inputs` is told.

    Attributes:
        tables: The tables of the source instance, by the names of the input tables.
        instance: The instance whose input tables are made.
        source: The instance that is copied, with its configuration.
        stage: The stage of the input tables.
    """

    tables: Mapping[str, sa.Table]
    instance: Instance
    source: Instance
    stage: str

    @property
    def attrs(self) -> dict[str, Any]:
        """The free dictionary of the instance whose input tables are made."""
        return self.instance.attrs


def copy_inputs(
    *,
    stage: str,
    raw: Sequence[dg.AssetsDefinition],
    owners: Sequence[str] | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
    weights: bool = False,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> Callable[[Filter], dg.AssetsDefinition]:
    """Make input tables from raw tables by queries of one's own.

    Use it in place of `copy_filtered_inputs` where neither first rows nor a rate nor a `sample` say
    which rows an instance takes. The function is called for instances that copy; a table that it
    gives no query for comes whole. Instances that load for themselves see their raw tables. Has an
    instance a `sample` of the tables besides, it is drawn from the rows that the queries leave:
    what these refer to comes along, and weights stand for them.

    Example:
        ```python
        @copy_inputs(stage="inputs", raw=[customers, orders])
        def inputs(copy: InputCopy) -> dict[str, sa.Select]:
            customers, orders = copy.tables["customers"], copy.tables["orders"]
            few = sa.select(customers).where(customers.c.country.in_(copy.attrs["countries"]))
            of_few = sa.select(orders).where(orders.c.customer.in_(few.with_only_columns(
                customers.c.id)))
            return {"customers": few, "orders": of_few}
        ```

    In memory the queries run on the embedded server, in a schema that is gone afterwards.

    Args:
        stage: The stage of the input tables; each has the name of its raw table.
        raw: The assets of the raw tables.
        owners: Owners of the input tables.
        partition_mapping: The edge from raw to input tables; default: that of the configuration.
        weights: Whether tables with roles and weights are made too; see `copy_filtered_inputs`.
        automation_condition: When Dagster makes the tables by itself; `eager()` copies new data.
        freshness_policy: How old they may become.

    Raises:
        ConfigurationError: There is no raw table, two have the same name, or one is not partitioned
            by instance.
    """
    specs = raw_specs(f"copy_inputs(stage={stage!r})", raw)
    options = {"automation_condition": automation_condition, "freshness_policy": freshness_policy}

    def decorate(function: Filter) -> dg.AssetsDefinition:
        from data_pipeline.instances.partitions import RAW_TO_SAMPLED

        name = getattr(function, "__name__", "")
        name = name if name.isidentifier() else "copy_inputs"  # it may be a lambda
        return input_asset(
            f"{stage}__{name}",
            specs,
            _outputs(stage, specs, owners, function, options, weights=weights),
            partition_mapping or RAW_TO_SAMPLED,
            _Step(stage, specs, function).results,
            function.__doc__,
        )

    return decorate


def _outputs(
    stage: str,
    specs: Mapping[str, dg.AssetSpec],
    owners: Sequence[str] | None,
    function: Filter,
    options: Mapping[str, Any],
    *,
    weights: bool,
) -> dict[str, InputOutput]:
    """Return the outputs, with the code of the function in their code version."""
    packages = load_configuration().tracked_packages
    own = code_version_of(function, tracked_packages=packages).version
    said = {**options, "code_version": fingerprint("own-1", own, sampling_version())}
    mark = {OWN_COPY: True}
    return input_outputs(stage, specs, owners, weights=weights, options=said, metadata=mark)


@dataclass(frozen=True)
class _Step:
    """Makes the input tables of one stage."""

    stage: str
    specs: Mapping[str, dg.AssetSpec]
    function: Filter
    inner: InputStep = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", InputStep.of(self.stage, self.specs))

    @property
    def declared(self) -> Mapping[str, Properties]:
        """What the raw assets declare."""
        return self.inner.declared

    def results(self, asked: InputRun) -> Iterator[tuple[str, Any]]:
        """Return the outputs that are asked for, by name."""
        if asked.instance.source is None:
            yield from self.inner.results(asked)
        elif not asked.is_in_database:
            frames = asked.sources.items()
            plain = {name: unwrapped(frame, Properties())[0] for name, frame in frames}
            yield from self._in_memory(replace(asked, sources=plain))
        elif self._is_sampled(asked.instance):
            yield from self.inner.results(asked, partial(self._own, asked.instance))
        else:
            asked = self.inner.prepared(asked)
            yield from self.inner.copies(asked, self._copied(asked))

    def _is_sampled(self, instance: Instance) -> bool:
        """Whether an instance has a sample of these tables besides."""
        graph = schema_graph(self.stage, self.inner.raw, self.declared)
        return instance.sample is not None and has_root(instance.sample, graph)

    def _own(self, instance: Instance, tables: Mapping[str, sa.Table]) -> Mapping[str, OwnRows]:
        """Return the rows that a sample is drawn from, of tables for which there is a query."""
        return {
            name: OwnRows(query, frozenset(_read_by(query, tables)))
            for name, query in self._given(instance, tables).items()
        }

    def _copied(self, asked: InputRun) -> Mapping[str, CopiedRows]:
        """Return the rows that the queries give, of which none is there by chance."""
        tables = asked.sources
        return {
            name: CopiedRows(
                name,
                query,
                OwnRows(query, frozenset()).of(tables[name]),
                _ALL,
                tuple(_read_by(query, tables)),
            )
            for name, query in self._queries(asked.instance, tables).items()
        }

    def _in_memory(self, asked: InputRun) -> Iterator[tuple[str, Any]]:
        rows = self._filtered(asked)
        if self._is_sampled(asked.instance):
            yield from self.inner.results(replace(asked, sources=rows))
            return
        for name, output in asked.in_order():
            frame, own = rows[output.table], StageTable(self.stage, output.table)
            if output.kind is OutputKind.ROWS:
                yield name, frame
                continue
            kept = filtered(own, frame, self.declared[output.table].primary_key, _ALL)
            yield name, kept.roles() if output.kind is OutputKind.ROLES else kept.weighted()

    def _queries(self, instance: Instance, tables: Mapping[str, sa.Table]) -> Mapping[str, Query]:
        """Return the query for each table: that of the function, or all rows."""
        every = {name: sa.select(table) for name, table in tables.items()}
        return every | dict(self._given(instance, tables))

    def _given(self, instance: Instance, tables: Mapping[str, sa.Table]) -> Mapping[str, Query]:
        """Ask the function.

        Raises:
            ConfigurationError: It gives anything but queries for these tables.
        """
        assert instance.source is not None  # noqa: S101 # it copies
        found = self.function(InputCopy(tables, instance, instance.source, self.stage))
        for name, query in found.items():
            if name not in tables or not is_query(query):
                what = "is no query" if name in tables else "is for no table of `raw`"
                raise ConfigurationError(
                    f"copy_inputs(stage={self.stage!r}): what the function returned for {name!r} "
                    f"{what}. {suggestion(str(name), tables)}"
                )
        return found

    def _filtered(self, asked: InputRun) -> Mapping[str, Any]:
        """Return the same of frames: the queries run on tables that are made of them."""
        instance = asked.instance
        if instance.source is None:
            return asked.sources
        outputs = input_outputs(self.stage, self.specs, None, weights=False)
        rows = dict(self._in_memory(replace(asked, instance=instance.source, outputs=outputs)))
        with scratch_schema(instance.home) as (server, schema):
            tables = {}
            for name, frame in rows.items():
                target = RelationName(schema, name)
                wanted = replace(self.declared[name], indexes=(), unlogged=True)
                own = StageTable(self.stage, name)
                build_from_batches(server, own, target, to_reader(frame), wanted)
                with server.begin() as connection:
                    tables[name] = reference(connection, target, None)
            found = {}
            for name, query in self._queries(instance, tables).items():
                result = RelationName(schema, f"{name[:50]}__result")
                with server.begin() as connection:
                    run(connection, f"CREATE TABLE {result.quoted} AS {compiled(query)}")
                found[name] = from_reader(stream(server, result, asked.log), type(rows[name]))
        return found


def _read_by(query: Query, tables: Mapping[str, sa.Table]) -> list[str]:
    """Name the tables that a query reads; all where it is a text."""
    if isinstance(query, sa.TextClause):
        return list(tables)
    parts = set(sa.sql.visitors.iterate(query))
    return [name for name, table in tables.items() if table in parts]
