"""The step that makes the input tables of an instance: whole, filtered or as a sample."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable, op_names
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, Instance
from data_pipeline.instances.settings.caching_and_kept_versions import Validation, validation
from data_pipeline.instances.slice_dimensions import copy_mapping, instances_of, is_sliced
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.earlier.staying_tables import (
    is_there,
    log_not_taken,
    recorded_versions,
)
from data_pipeline.sampling.first_rows import selected_query
from data_pipeline.sampling.prediction.messages_of_draws import log_names_of_weights
from data_pipeline.sampling.sample_request import Own, Query, Request, Versions
from data_pipeline.sampling.sampled_inputs import SampledInputs, sampled_inputs
from data_pipeline.sampling.weights import (
    roles_table,
    roles_without_selection,
    weighted_table,
    weighted_view,
    with_declared_key,
)
from data_pipeline.store.lookup import SOURCE_METADATA_KEY, made_from
from data_pipeline.store.reading import catalog_row_of, properties_of
from data_pipeline.store.table_properties import (
    METADATA_KEY,
    Properties,
    Table,
    View,
    declared_properties,
)


class OutputKind(Enum):
    """What an output holds, in the order in which they are made."""

    ROWS = 1
    ROLES = 2
    WEIGHTED = 3


@dataclass(frozen=True)
class InputOutput:
    """One output.

    Attributes:
        kind: What it holds.
        table: The input table that it is or belongs to.
        out: Its definition.
        depends_on: The assets that it is made from, also such of the same step.
    """

    kind: OutputKind
    table: str
    out: dg.AssetOut
    depends_on: frozenset[dg.AssetKey]


def input_outputs(
    stage: str,
    specs: Mapping[str, dg.AssetSpec],
    owners: Sequence[str] | None,
    *,
    weights: bool,
    options: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, InputOutput]:
    """Return the outputs by name.

    Args:
        stage: The stage of the input tables.
        specs: The raw table behind each.
        owners: Owners of the input tables.
        weights: Whether roles and weights are asked for.
        options: Further arguments of `dg.AssetOut`, for each of them.
        metadata: Further metadata of the input tables.

    Raises:
        ConfigurationError: A name would be taken twice.
    """
    found: dict[str, InputOutput] = {}
    given = {name: value for name, value in (options or {}).items() if value is not None}
    for name, spec in specs.items():
        _add(found, stage, name, _rows(stage, name, spec, owners, given, metadata or {}))
    for name, spec in specs.items() if weights else ():
        table = StageTable(stage, name)
        rows, roles = _asset_key(table), _asset_key(roles_table(table))
        text = f"Role and inclusion probability of the rows of {table}."
        of_roles = _out(roles, owners, text, options=given)
        of_both = _out(
            _asset_key(weighted_table(table)),
            owners,
            f"The rows of {table} with role, probability, unit and weight.",
            options=given,
        )
        output = InputOutput(OutputKind.ROLES, name, of_roles, frozenset({spec.key}))
        _add(found, stage, f"{name}__roles", output)
        output = InputOutput(OutputKind.WEIGHTED, name, of_both, frozenset({rows, roles}))
        _add(found, stage, f"{name}__weighted", output)
    return found


def _rows(
    stage: str,
    name: str,
    spec: dg.AssetSpec,
    owners: Sequence[str] | None,
    options: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> InputOutput:
    key = dg.AssetKey([stage, name])
    own = {SOURCE_METADATA_KEY: spec.key.to_user_string(), **_declared(spec.metadata)}
    description = f"The rows of {spec.key.to_user_string()} that the instance works on."
    out = _out(key, owners, description, {**own, **metadata}, options)
    return InputOutput(OutputKind.ROWS, name, out, frozenset({spec.key}))


def _out(
    key: dg.AssetKey,
    owners: Sequence[str] | None,
    description: str,
    metadata: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dg.AssetOut:
    return dg.AssetOut(
        key=key,
        description=description,
        is_required=False,
        group_name=key.path[0],
        owners=owners,
        kinds={"sql", "postgres"},
        metadata=metadata,
        **{"code_version": sampling_version(), **(options or {})},
    )


def _asset_key(table: StageTable) -> dg.AssetKey:
    return dg.AssetKey([table.stage, table.name])


def _declared(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    return {METADATA_KEY: metadata[METADATA_KEY]} if METADATA_KEY in metadata else {}


def _add(found: dict[str, InputOutput], stage: str, name: str, output: InputOutput) -> None:
    for other, item in found.items():
        if name == other or output.out.key == item.out.key:
            raise ConfigurationError(
                f"stage {stage!r}, weights=True: the raw tables `{item.table}` and "
                f"`{output.table}` need the same name for roles or weights. Rename one of them."
            )
    found[name] = output


@dataclass(frozen=True)
class InputRun:
    """A run of the step of input tables.

    Attributes:
        instance: The instance.
        outputs: What is asked for, by name.
        sources: What each input table is made from (see `made_from`) as `sa.Table` in the database;
            in memory, the frame of its raw table.
        log: The log of the run.
        how: Which results may be reused: whether everything is made anew, or copies that are there
            stay as they are, whatever their source has become.
    """

    instance: Instance
    outputs: Mapping[str, InputOutput]
    sources: Mapping[str, Any]
    log: logging.Logger
    how: Validation

    @property
    def is_in_database(self) -> bool:
        """Whether all sources are tables."""
        return all(isinstance(source, sa.Table) for source in self.sources.values())

    @property
    def is_stable(self) -> bool:
        """Whether copies that are there stay."""
        return self.instance.copies and not self.how.asks_sources

    def in_order(self) -> list[tuple[str, InputOutput]]:
        """Return the outputs in the order in which they are made."""
        return sorted(self.outputs.items(), key=lambda item: (item[1].kind.value, item[0]))


Made = Callable[[InputRun], Iterator[tuple[str, Any]]]
"""Makes the outputs that a run asks for, by name."""


def raw_specs(what: str, raw: Sequence[dg.AssetsDefinition]) -> dict[str, dg.AssetSpec]:
    """Return the raw table behind each input table.

    Args:
        what: What they are given to, for messages.
        raw: The assets of the raw tables.

    Raises:
        ConfigurationError: There is none, two have the same name, or one is not partitioned.
    """
    specs = {spec.key.path[-1]: spec for asset in raw for spec in asset.specs}
    if not specs:
        raise ConfigurationError(f"{what}: no raw tables. Pass their assets as `raw`.")
    if len(specs) != sum(len(list(asset.specs)) for asset in raw):
        raise ConfigurationError(
            f"{what}: two raw tables have the same name, so their input tables would too. Rename "
            "one, or use another stage for it."
        )
    for spec in specs.values():
        if spec.partitions_def is None:
            raise ConfigurationError(
                f"{what}: raw table {spec.key.to_user_string()} is not partitioned by instance. "
                "Add partitions_def=INSTANCE_PARTITIONS."
            )
    return specs


def input_asset(
    name: str,
    specs: Mapping[str, dg.AssetSpec],
    outputs: Mapping[str, InputOutput],
    mapping: dg.PartitionMapping,
    make: Made,
    description: str | None = None,
) -> dg.AssetsDefinition:
    """Return the asset that makes the input tables of a stage.

    Args:
        name: The name of its op.
        specs: The raw table behind each input table.
        outputs: What it makes, by name.
        mapping: The edge from raw to input tables.
        make: Makes the outputs that are asked for.
        description: What Dagster shows of it.
    """
    ins, outs = op_names(specs), _output_names(outputs, specs.values())

    @dg.multi_asset(
        name=name,
        description=description,
        ins={
            ins[n]: dg.AssetIn(
                key=spec.key, partition_mapping=copy_mapping(spec.partitions_def, mapping)
            )
            for n, spec in specs.items()
        },
        outs={outs[n]: output.out for n, output in outputs.items()},
        partitions_def=instances_of(next(iter(specs.values())).partitions_def),
        internal_asset_deps={outs[n]: set(output.depends_on) for n, output in outputs.items()},
        required_resource_keys={"instance"},
        can_subset=True,
    )
    def inputs(context: dg.AssetExecutionContext, **sources: Any) -> Iterator[dg.Output[Any]]:
        instance = context.resources.instance.current
        selected = context.op_execution_context.selected_output_names
        wanted = {n: output for n, output in outputs.items() if outs[n] in selected}
        given = {n: sources[ins[n]] for n in specs}
        how = validation(instance, context.run.tags)
        for n, value in make(InputRun(instance, wanted, given, context.log, how)):
            yield dg.Output(value, outs[n])

    return inputs


def _output_names(
    outputs: Mapping[str, InputOutput], specs: Iterable[dg.AssetSpec]
) -> dict[str, str]:
    """Return the names that the outputs have for Dagster.

    It takes an output for what is read, where that has slices and the same name.
    """
    mark = "__copy" if any(is_sliced(spec.partitions_def) for spec in specs) else ""
    return {name: f"{output}{mark}" for name, output in op_names(outputs).items()}


@dataclass(frozen=True)
class CopiedRows:
    """The rows of a source table that an instance takes, where it draws no sample.

    Attributes:
        name: The input table.
        query: The query for them.
        rows: The same, with the columns of the source.
        keep: With which probability it takes them.
        reads: The input tables behind whose sources the query looks.
        version: What tells these rows from others, besides the query.
    """

    name: str
    query: Query
    rows: sa.Select[Any]
    keep: CopyFilter
    reads: tuple[str, ...]
    version: str = ""


@dataclass(frozen=True)
class InputStep:
    """Makes the input tables of one stage.

    Attributes:
        stage: The stage.
        raw: The raw table behind each input table, in order of declaration.
        declared: What the raw assets declare of them.
    """

    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]

    @classmethod
    def of(cls, stage: str, specs: Mapping[str, dg.AssetSpec]) -> "InputStep":
        """Return the step that makes the input tables of a stage from raw tables."""
        raw = {name: StageTable.from_path(spec.key.path) for name, spec in specs.items()}
        declared = {name: declared_properties(spec.metadata) for name, spec in specs.items()}
        return cls(stage, raw, declared)

    def results(self, asked: InputRun, own: Own | None = None) -> Iterator[tuple[str, Any]]:
        """Return the outputs that are asked for, by name.

        Args:
            asked: The run.
            own: What a sample is chosen from, in the database; None: all rows.

        Raises:
            ConfigurationError: The specification or filter cannot be applied, or a source is no
                table.
        """
        forced = asked.how.mode == "force_cache_invalid"
        request = replace(self._request(asked), forced=forced, own=own)
        if not asked.is_in_database:
            from data_pipeline.sampling.inputs_in_memory import InputsInMemory

            outputs = asked.outputs.values()
            in_memory = InputsInMemory(request, outputs, asked.sources, asked.log)
            yield from ((name, in_memory.output(output)) for name, output in asked.in_order())
            return
        asked = self.prepared(asked)
        with sampled_inputs(request, asked.log) as sample:
            if sample is not None:
                yield from ((name, _sampled(sample, output)) for name, output in asked.in_order())
            else:
                sources = asked.sources.items()
                rows = {name: self._filtered(asked.instance, name, t) for name, t in sources}
                yield from self.copies(asked, rows)

    def prepared(self, asked: InputRun) -> InputRun:
        """Return a run on sources with the keys that are declared of them."""
        keyed = {
            name: with_declared_key(
                source, self._origin(asked.instance, name)[1], self.declared[name]
            )
            for name, source in asked.sources.items()
        }
        weighted = {o.table for o in asked.outputs.values() if o.kind is OutputKind.WEIGHTED}
        log_names_of_weights(asked.log, {name: keyed[name] for name in weighted})
        return replace(asked, sources=keyed)

    def copies(self, asked: InputRun, rows: Mapping[str, CopiedRows]) -> Iterator[tuple[str, Any]]:
        """Return the outputs that are asked for of given rows, by name.

        Args:
            asked: The run, prepared.
            rows: Which rows of the sources.
        """
        inputs, instance = self._inputs(asked, rows), asked.instance
        for name, output in asked.in_order():
            table, source = StageTable(self.stage, output.table), asked.sources[output.table]
            own, versions = rows[output.table], inputs[output.table]
            if output.kind is OutputKind.ROLES:
                yield name, roles_without_selection(table, source, own.keep, own.rows, versions)
            elif output.kind is OutputKind.WEIGHTED:
                yield name, weighted_view(instance, table, source, own.version, versions)
            else:
                copied = Table.of(own.query, properties_of(source), versions)
                yield name, copied if instance.copies else View(source)

    def _request(self, asked: InputRun) -> Request:
        def of(kind: OutputKind) -> frozenset[str]:
            return frozenset(o.table for o in asked.outputs.values() if o.kind is kind)

        return Request(
            instance=asked.instance,
            stage=self.stage,
            raw=self.raw,
            declared=self.declared,
            tables=of(OutputKind.ROWS),
            roles=of(OutputKind.ROLES),
            stable=asked.is_stable,
        )

    def _filtered(self, instance: Instance, name: str, source: sa.Table) -> CopiedRows:
        """Return the rows that the filter of an instance keeps; all, where it loads for itself."""
        table = StageTable(self.stage, name)
        copies = instance.copies
        keep = instance.copy_filter(table.stage, table.name) if copies else CopyFilter(rate=1.0)
        rows = selected_query(table, source, keep)
        return CopiedRows(name, rows, rows, keep, (name,), f"{keep.cnt} {keep.rate}")

    def _inputs(self, asked: InputRun, rows: Mapping[str, CopiedRows]) -> Mapping[str, Versions]:
        """Return for each input table the data versions of what it is made from, or was."""
        read: dict[str, tuple[str, str | None]] = {}
        for name, source in asked.sources.items():
            owner, table = self._origin(asked.instance, name)
            row = catalog_row_of(source)
            read[name] = f"{owner.instance_id}/{table}", row.data_version if row else None
        current = {name: dict(read[other] for other in own.reads) for name, own in rows.items()}
        if not asked.is_stable:
            return current
        request = self._request(asked)
        with database(asked.instance).begin() as connection:
            staying = {
                name: self._kept_versions(connection, request, source, rows[name], current[name])
                for name, source in asked.sources.items()
            }
        made = {name: versions for name, versions in staying.items() if versions}
        log_not_taken(asked.log, made, current)
        return current | made

    def _kept_versions(
        self,
        connection: sa.Connection,
        request: Request,
        source: sa.Table,
        rows: CopiedRows,
        current: Versions,
    ) -> Versions | None:
        """Return what a table was made of if all that is asked for of it is there; else None."""
        instance, table = request.instance, StageTable(self.stage, rows.name)
        before = recorded_versions(connection, instance, table, current)
        wanted = []
        if rows.name in request.tables:
            copied = Table.of(rows.query, properties_of(source), before)
            wanted.append((table, copied, self.declared[rows.name]))
        if rows.name in request.roles:
            roles = roles_without_selection(table, source, rows.keep, rows.rows, before)
            wanted.append((roles_table(table), roles, Properties()))
        stays = all(is_there(connection, instance, *item) for item in wanted)
        return before if stays else None

    def _origin(self, instance: Instance, name: str) -> tuple[Instance, StageTable]:
        return made_from(instance, self.raw[name], StageTable(self.stage, name))


def _sampled(sample: SampledInputs, output: InputOutput) -> Table:
    if output.kind is OutputKind.ROWS:
        return sample.table(output.table)
    if output.kind is OutputKind.ROLES:
        return sample.roles(output.table)
    return sample.weighted(output.table)
