"""Values that another IO manager than ours keeps: are they there, and the ones that were made?"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import dagster as dg

from data_pipeline.caching.decisions import Key
from data_pipeline.caching.run_steps import PlannedOutput
from data_pipeline.caching.sources import SHARED_KEY
from data_pipeline.tables.catalog import RELATIONS, CatalogRow
from data_pipeline.tables.io_manager import InstanceIOManager, TableIOManager

# `UPathIOManager` tells the paths of partitions to its subclasses only.
# `data_pipeline_tests/caching/test_other_io_managers.py` fails when that changes.


_MAX_FILES = 20
"""The files of so many people are remembered."""


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
