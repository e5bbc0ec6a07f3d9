"""Values that another IO manager than ours keeps: are they there, and the ones that were made?"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.identity.observed_versions import DATA_VERSION_TAG
from data_pipeline.io_manager.io_manager import InstanceIOManager, TableIOManager
from data_pipeline.memo.deciding.decisions import Computation, Key, Step
from data_pipeline.memo.run_steps import PlannedOutput
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import RELATIONS, CatalogRow, Kind
from data_pipeline.transfer.stable_hash import fingerprint

# `UPathIOManager` tells the paths of partitions to its subclasses only.
# `data_pipeline_tests/memo/test_other_io_managers.py` fails when that changes.


SHARED_KEY = "data_pipeline/shared"
"""The metadata of an asset whose value is the same wherever it is loaded; see `shared_output`."""

_MAX_FILES = 20
"""The files of so many people are remembered."""


def shared_output() -> dict[str, Any]:
    """Return asset metadata that declares that the asset's value lies where all runs can load it.

    Use it with an IO manager of your own choice that keeps values in a shared place (a bucket, a
    network drive, another database): `@dg.asset(io_manager_key="bucket",
    metadata=shared_output())`. While code and inputs are unchanged, the asset is then up to date
    for everybody. Without it, its value is looked for where the run is: the file of a
    `UPathIOManager` must be the one that was written, and what other IO managers keep is loaded.
    """
    return {SHARED_KEY: True}


class OtherIOManagers:
    """The IO managers of a job that are not ours, and what they keep of an instance.

    Args:
        job: The job.
        resource_config: What the run configures of its resources, by key.
        partition: The instance, as a partition.
        outputs: The outputs that give the assets of the run.
        keys: The Dagster keys of these assets.
    """

    def __init__(
        self,
        job: dg.JobDefinition,
        resource_config: Mapping[str, Any],
        partition: str,
        outputs: Mapping[Key, PlannedOutput],
        keys: Mapping[Key, dg.AssetKey],
    ) -> None:
        self.storage: Callable[[], dg.DagsterInstance | None] = lambda: None
        self._job = job
        self._config = resource_config
        self._partition = partition
        self._outputs = outputs
        self._keys = keys
        self._stack = ExitStack()
        self._built: dict[str, Mapping[str, Any]] = {}
        self._ours: dict[str, bool] = {}
        self._problems: dict[tuple[Key, str | None], str | None] = {}

    def is_ours(self, name: str) -> bool:
        """Whether an IO manager stores values in the database, and files beside it."""
        if name not in self._ours:
            resource = self._job.resource_defs.get(name)
            kind = getattr(resource, "configurable_resource_cls", None)
            if kind is not None:
                self._ours[name] = issubclass(kind, InstanceIOManager)
            else:  # what a function gives
                with suppress(Exception):  # its code may do anything
                    self._ours[name] = isinstance(self._manager(name), TableIOManager)
        return self._ours.setdefault(name, False)

    def problem(self, key: Key, row: CatalogRow) -> str | None:
        """Say why the value that a row speaks of cannot be used here; None where it can.

        Args:
            key: The asset.
            row: What the catalog knows of it.
        """
        name = self._outputs[key].io_manager
        if self.is_ours(name):
            return "its value is not kept here yet" if row.kind == "elsewhere" else None
        if row.kind in (*RELATIONS, "blob"):
            return f"its value is not kept by IO manager `{name}` yet"
        if row.kind != "elsewhere":
            return None
        if row.relation.get("io_manager") != name:
            return f"its value is not kept by IO manager `{name}` yet"
        if self._is_shared(key):
            return None
        made = key, row.run_id
        if made not in self._problems:
            self._problems[made] = self._found(key, row)
        return self._problems[made]

    def state(self, key: Key) -> dict[str, Any]:
        """Return what tells that a value, which was made just now, still is the same."""
        state: dict[str, Any] = {"io_manager": self._outputs[key].io_manager}
        if self._is_shared(key):
            return state
        try:
            path = self._path(key)
        except Exception:  # its code may do anything; here the value can then not be found later
            return state
        return state if path is None else {**state, "files": [_file(path)]}

    def close(self) -> None:
        """End the IO managers that were needed."""
        self._stack.close()

    def _is_shared(self, key: Key) -> bool:
        declared = self._job.asset_layer.asset_graph.get(self._keys[key]).metadata.get(SHARED_KEY)
        return bool(getattr(declared, "value", declared))

    def _found(self, key: Key, row: CatalogRow) -> str | None:
        """Look for a value."""
        name = self._outputs[key].io_manager
        lost = f"its value, kept by IO manager `{name}`, cannot be loaded here"
        try:
            path = self._path(key)
            if path is None:
                self._load(key)
                return None
            manager: Any = self._manager(name)
            if not manager.path_exists(path):
                return f"{lost}: there is no {path}"
        except Exception as error:  # its code may do anything
            return f"{lost}: {type(error).__name__}: {error}"
        if _file(path) not in row.relation.get("files", ()):
            return f"its value, kept by IO manager `{name}`, is another one: {path} has changed"
        return None

    def _path(self, key: Key) -> Any:
        """Return where a value lies; None where only its IO manager knows."""
        manager = self._manager(self._outputs[key].io_manager)
        if not isinstance(manager, dg.UPathIOManager):
            return None
        context = self._context(key)
        if not context.has_asset_partitions:
            return manager._get_path(context)
        return manager._get_paths_for_partitions(context)[self._partition]

    def _load(self, key: Key) -> None:
        manager = self._manager(self._outputs[key].io_manager)
        with self._context(key) as context:
            manager.load_input(context)

    def _context(self, key: Key) -> dg.InputContext:
        output, asset = self._outputs[key], self._keys[key]
        node = self._job.asset_layer.asset_graph.get(asset)
        partition = self._partition if node.partitions_def is not None else None
        resources = {
            name: value
            for name, value in self._built[output.io_manager].items()
            if name != output.io_manager
        }
        return dg.build_input_context(
            asset_key=asset,
            partition_key=partition,
            asset_partition_key_range=_range(partition),
            asset_partitions_def=node.partitions_def,
            dagster_type=output.dagster_type,
            upstream_output=dg.build_output_context(
                name=output.name,
                asset_key=asset,
                partition_key=partition,
                definition_metadata=dict(node.metadata),
            ),
            resources=resources,
            instance=self.storage(),
        )

    def _manager(self, name: str) -> Any:
        if name not in self._built:
            definitions = self._job.resource_defs
            needed = {name, *definitions[name].get_required_resource_keys(definitions)}
            built = dg.build_resources(
                {item: definitions[item] for item in needed},
                instance=self.storage(),
                resource_config={item: v for item, v in self._config.items() if item in needed},
            )
            self._built[name] = self._stack.enter_context(built)._asdict()
        return self._built[name][name]


def with_files_of(earlier: CatalogRow, row: CatalogRow) -> CatalogRow:
    """Return the row of a value with the files that the same computation has written elsewhere.

    Where several people run the pipeline, each has a file of their own.

    Args:
        earlier: The row that it replaces.
        row: The row.
    """
    is_same = (earlier.cache_key, earlier.data_version) == (row.cache_key, row.data_version)
    if row.cache_key is None or not is_same:
        return row
    files = [*row.relation.get("files", ()), *earlier.relation.get("files", ())]
    return replace(row, relation={**row.relation, "files": files[:_MAX_FILES]})


def _file(path: Any) -> dict[str, Any]:
    """Return what tells that nobody has written a file anew; of a remote one, its name alone."""
    try:
        found = os.stat(path)
    except (OSError, TypeError, ValueError):
        return {"path": str(path)}
    return {"path": str(path), "size": found.st_size, "modified": found.st_mtime_ns}


def _range(partition: str | None) -> dg.PartitionKeyRange | None:
    return None if partition is None else dg.PartitionKeyRange(partition, partition)


@dataclass(frozen=True)
class Unstored:
    """An asset of which nothing but a row is kept here.

    Attributes:
        kind: What it is.
        version: The data version that its code gave it, if any.
        state: What tells that a value elsewhere still is the one that was made.
        earlier: The row that it replaces, if any.
    """

    kind: Kind
    version: str | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    earlier: CatalogRow | None = None


def stage_unstored(
    session: RunSession,
    step: Step,
    found: Mapping[Key, Unstored],
    version_of: Callable[[Key], str | None],
    read_by_code: Mapping[str, str | None],
) -> list[CatalogRow]:
    """Stage a row for each asset of a step that is not stored here.

    What the step has stored, and made from such an asset, notes the version that this has now.

    Args:
        session: The run, which holds the locks of the tables.
        step: The step, which has succeeded.
        found: Its assets that are not stored here.
        version_of: Gives the data version of an input, as the step found it.
        read_by_code: The data versions of what its code has read by itself, by name.

    Returns:
        The rows.
    """
    rows = list(_rows(session.run_id, step, found, version_of, read_by_code))
    for row in rows:
        from data_pipeline.results.discard_staged import make_room

        make_room(session.database, session.instance, row.table, session.run_id, session.log)
    with session.begin() as connection:
        for row in rows:
            staging.put(connection, session.instance, row, session.run_id)
        others = [item for item in step.computations if item.key not in found]
        _note_versions(connection, session, others, rows)
    return rows


def _rows(
    run_id: str,
    step: Step,
    found: Mapping[Key, Unstored],
    version_of: Callable[[Key], str | None],
    read_by_code: Mapping[str, str | None],
) -> Iterator[CatalogRow]:
    versions: dict[Key, str] = {}
    for item in _in_order(step):
        if (made := found.get(item.key)) is None:
            continue
        table = item.key[1]
        inputs = {
            f"{instance}/{name}": versions.get((instance, name)) or version_of((instance, name))
            for instance, name in item.inputs
        }
        inputs |= read_by_code
        # Where the same computation is not told from another one, each run makes something new.
        key = item.identity.cache_key(str(table), inputs) or f"{run_id} {table}"
        versions[item.key] = made.version or fingerprint("unstored-1", key)
        from data_pipeline.results.origin import Origin

        origin = Origin(run_id, item.identity, inputs)
        row = origin.row(table, made.kind, versions[item.key], relation=made.state)
        yield row if made.earlier is None else with_files_of(made.earlier, row)


def _in_order(step: Step) -> Iterator[Computation]:
    """Return the assets of a step, each behind those of them that it is made from."""
    own = {item.key: item for item in step.computations}
    needs = {item.key: [key for key in item.inputs if key in own] for item in step.computations}
    return (own[key] for key in TopologicalSorter(needs).static_order())


def _note_versions(
    connection: sa.Connection,
    session: RunSession,
    others: Sequence[Computation],
    rows: Sequence[CatalogRow],
) -> None:
    """Let what the step has stored know the versions of what it has not, which are new to it."""
    instance = session.instance
    versions = {f"{instance.instance_id}/{row.table}": row.data_version for row in rows}
    staged = staging.of_run(connection, instance, session.run_id)
    for item in others:
        table = item.key[1]
        is_staged = table in staged
        row = staged.get(table) or catalog.row(connection, instance.catalog_schema, table)
        if row is None or not versions.keys() & row.inputs.keys():
            continue
        inputs = {name: versions.get(name, version) for name, version in row.inputs.items()}
        key = item.identity.cache_key(str(table), inputs)
        noted = replace(row, inputs=inputs, cache_key=key)
        if is_staged:
            staging.put(connection, instance, noted, session.run_id)
        else:  # it was left as it is
            catalog.confirm(connection, instance.catalog_schema, noted)


_IS_GIVEN_TAG = "dagster/data_version_is_user_provided"

# Data versions are told in tags of materializations, and who keeps a value in the events of its
# output, which Dagster does not document. `data_pipeline_tests/memo/test_storing_nothing.py`
# fails when they change.


@dataclass(frozen=True)
class MadeOutput:
    """What became of an output of a step.

    Attributes:
        is_made: Whether the step has made it.
        is_recorded: Whether Dagster has recorded a materialization of its asset.
        version: The data version that the asset's code, or an IO manager, gave it.
        io_manager: The key of the IO manager that has stored it; None where none was called.
    """

    is_made: bool = False
    is_recorded: bool = False
    version: str | None = None
    io_manager: str | None = None


class StepEvents:
    """Takes note of the events of steps, of the last attempt of each."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[dg.AssetKey, str | None]] = {}
        self._handled: dict[str, dict[str, str]] = {}
        self._made: dict[str, set[str]] = {}

    def add(self, event: dg.DagsterEvent) -> None:
        """Take note of an event of a step."""
        step, kind = event.step_key, event.event_type
        if step is None:
            return
        if kind in (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED):
            self._keys[step], self._handled[step], self._made[step] = {}, {}, set()
        elif kind is dg.DagsterEventType.STEP_OUTPUT:
            self._made.setdefault(step, set()).add(event.step_output_data.output_name)
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            tags = event.step_materialization_data.materialization.tags or {}
            # What the code of an asset logs by itself has no data version.
            if event.asset_key is not None and DATA_VERSION_TAG in tags:
                given = tags[DATA_VERSION_TAG] if _IS_GIVEN_TAG in tags else None
                self._keys.setdefault(step, {})[event.asset_key] = given
        elif kind is dg.DagsterEventType.HANDLED_OUTPUT:
            handled: Any = event.event_specific_data
            self._handled.setdefault(step, {})[handled.output_name] = handled.manager_key

    def output(self, step: str, name: str, key: dg.AssetKey) -> MadeOutput:
        """Return what became of an output.

        Args:
            step: The step.
            name: The output.
            key: Its asset.
        """
        recorded = self._keys.get(step, {})
        handled = self._handled.get(step, {})
        is_made = name in self._made.get(step, ())
        return MadeOutput(is_made, key in recorded, recorded.get(key), handled.get(name))
