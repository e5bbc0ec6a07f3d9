"""What an instance must say itself: which rows it takes of tables that refer to each other."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Configuration, CopyFilter, Instance
from data_pipeline.instances.merged_layers import problem, suggestion
from data_pipeline.results.data_checks import referenced_table, relationship_name
from data_pipeline.store.lookup import SOURCE_METADATA_KEY
from data_pipeline.store.table_properties import Properties, declared_properties

OWN_COPY = "data_pipeline/own_copy"
"""Where an input table says, in its metadata, that a function of the user chooses its rows."""

_MOST_NAMED = 3


class MissingKeyWarning(UserWarning):
    """Rows are counted of a table that has no primary key, so which ones they are is left open."""


@dataclass(frozen=True)
class _Stage:
    """A stage of input tables.

    Attributes:
        name: Its name.
        raw: The raw table behind each input table.
        properties: What is declared of each raw table.
    """

    name: str
    raw: Mapping[str, StageTable]
    properties: Mapping[str, Properties]

    def relationships(self) -> list[tuple[str, str]]:
        """Return which input tables refer to which, but to themselves."""
        names = {raw: name for name, raw in self.raw.items()}
        found = [
            (name, names.get(referenced_table(self.raw[name], key), name))
            for name, declared in self.properties.items()
            for key in declared.foreign_keys
        ]
        return list(dict.fromkeys((child, parent) for child, parent in found if child != parent))

    def is_sampled_by(self, instance: Instance) -> bool:
        """Whether a sample has a root among the tables."""
        roots = instance.sample.roots if instance.sample else ()
        return any(root in (name, f"{self.name}/{name}") for root in roots for name in self.raw)


def check_references(specs: Iterable[dg.AssetSpec], known: Collection[dg.AssetKey]) -> None:
    """Refuse relationships to tables that do not exist: nothing would check or follow them.

    Args:
        specs: The assets that are computed.
        known: The keys of all assets, also of those that others compute.

    Raises:
        ConfigurationError: There is one.
    """
    tables = {"/".join(key.path) for key in known}
    for spec in specs:
        if SOURCE_METADATA_KEY in spec.metadata:
            continue  # they are those of its raw table
        for key in declared_properties(spec.metadata).foreign_keys:
            own = StageTable.from_path(spec.key.path)
            other = str(referenced_table(own, key))
            if other not in tables:
                raise ConfigurationError(
                    f"Asset `{own}` declares the relationship {relationship_name(key)}, but there "
                    f"is no table `{other}`. {suggestion(other, sorted(tables))} One that "
                    "other code makes is made known by a dg.AssetSpec of its key."
                )


def check_choices(specs: Iterable[dg.AssetSpec], configuration: Configuration) -> None:
    """Refuse filters for tables that refer to each other, unless they are said of their stage.

    A filter takes rows of each table by itself, so that hardly any reference would lead anywhere.

    Raises:
        ConfigurationError: An instance would do so, by what it says of other pipelines.
    """
    specs = list(specs)
    stages = _input_stages({"/".join(spec.key.path): spec for spec in specs})
    for name, instance in configuration.instances.items():
        for stage in stages:
            _check_sample(configuration, name, instance, stage)
    for name, instance, stage in _unsampled(specs, configuration):
        _check_choice(configuration, name, instance, stage)


def _check_sample(
    configuration: Configuration, name: str, instance: Instance, stage: _Stage
) -> None:
    """Check what a sample says of tables by what their assets declare."""
    if instance.sample is None:
        return
    from data_pipeline.sampling.plan.sample_plan import check_declared
    from data_pipeline.sampling.plan.schema_graph import schema_graph

    graph = schema_graph(stage.name, stage.raw, stage.properties)
    try:
        check_declared(instance.sample, graph)
    except ConfigurationError as error:
        where = f"{configuration.file}: instances.{name}.attrs"
        raise ConfigurationError(f"{where}.{error}") from None


def warn_of_missing_keys(specs: Iterable[dg.AssetSpec], configuration: Configuration) -> None:
    """Warn of tables without a primary key of which an instance takes the first rows.

    Warns:
        MissingKeyWarning: Once, with all of them.
    """
    found: dict[str, list[str]] = {}
    for name, instance, stage in _unsampled(specs, configuration):
        for table, declared in stage.properties.items():
            counted = instance.copy_filter(stage.name, table).cnt is not None
            if counted and not declared.primary_key:
                found.setdefault(str(stage.raw[table]), []).append(name)
    if found:
        _warn(found)


def _unsampled(
    specs: Iterable[dg.AssetSpec], configuration: Configuration
) -> Iterator[tuple[str, Instance, _Stage]]:
    """Return which stages of input tables instances copy other than as a sample."""
    stages = _input_stages({"/".join(spec.key.path): spec for spec in specs})
    for name, instance in configuration.instances.items():
        for stage in stages if instance.copies else ():
            if not stage.is_sampled_by(instance):
                yield name, instance, stage


def _input_stages(specs: Mapping[str, dg.AssetSpec]) -> Sequence[_Stage]:
    raw: dict[str, dict[str, str]] = {}
    for spec in specs.values():
        source = spec.metadata.get(SOURCE_METADATA_KEY)
        if source and OWN_COPY not in spec.metadata:
            raw.setdefault(spec.key.path[0], {})[spec.key.path[-1]] = str(source)
    return [
        _Stage(
            stage,
            {name: StageTable.from_path(key.split("/")) for name, key in tables.items()},
            {
                name: declared_properties(specs[key].metadata) if key in specs else Properties()
                for name, key in tables.items()
            },
        )
        for stage, tables in raw.items()
    ]


def _check_choice(
    configuration: Configuration, name: str, instance: Instance, stage: _Stage
) -> None:
    keep, related = instance.copy_filter(stage.name), stage.relationships()
    said = (key.partition("/")[0] == stage.name for key in instance.copy_filter_overrides)
    if keep.keeps_all_rows or not related or any(said):
        return
    more = f" and {len(related) - _MOST_NAMED} more" if len(related) > _MOST_NAMED else ""
    shown = ", ".join(f"{child} -> {parent}" for child, parent in related[:_MOST_NAMED])
    what = (
        f"the tables of stage '{stage.name}' refer to each other ({shown}{more}), but nothing says "
        f"how to take their rows: {_written(keep)} is not said of this stage, and would take rows "
        "of each table by itself, which hardly ever refer to each other"
    )
    overrides = f"copy_filter_overrides: {{{stage.name}: "
    remedy = (
        "Choose one of these lines:\n"
        f"  sample: {{roots: {{{root_of(related)}: {{rate: 0.05}}}}}}  # keeps what rows refer to\n"
        f"  {overrides}{{copy_filter_rate: 1.0}}}}  # all rows\n"
        f"  {overrides}{{{_written(keep)}}}}}  # rows of each table by itself"
    )
    raise problem(configuration.file, f"instances.{name}.attrs", what, remedy)


def _written(keep: CopyFilter) -> str:
    if keep.cnt is not None:
        return f"copy_filter_cnt: {keep.cnt}"
    return f"copy_filter_rate: {keep.rate}"


def root_of(related: Sequence[tuple[str, str]]) -> str:
    """Return the table that most others are reached from: what happens, not what it happens to."""
    children = [child for child, _ in related]
    parents = {parent for _, parent in related}
    return max(children, key=lambda name: (name not in parents, children.count(name)))


def _warn(without_key: Mapping[str, Sequence[str]]) -> None:
    listed = ", ".join(f"`{table}` ({', '.join(names)})" for table, names in without_key.items())
    warnings.warn(
        f"copy_filter_cnt takes the first rows of tables that have no primary key, so which rows "
        f"these are is left to the order of the source: {listed}. Declare the key "
        "(primary_key=...), so that they stay the same.",
        MissingKeyWarning,
        stacklevel=4,
    )
