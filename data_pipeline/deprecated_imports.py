"""Import paths of earlier versions: they work for this version, with a DeprecationWarning."""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_MOVED = {
    "data_pipeline.caching": "data_pipeline",
    "data_pipeline.caching.executor": "data_pipeline.memo.executor",
    "data_pipeline.caching.sources": "data_pipeline",
    "data_pipeline.estimates.estimate": "data_pipeline.estimates.intervals",
    "data_pipeline.instances.resource": "data_pipeline.io_manager.instance_resource",
    "data_pipeline.instances.url": "data_pipeline.instances.settings.database_url",
    "data_pipeline.resources": "data_pipeline.assembly",
    "data_pipeline.sampling.copy_inputs": "data_pipeline.sampling.copy_filtered_inputs",
    "data_pipeline.sampling.estimates": "data_pipeline.estimates",
    "data_pipeline.sampling.estimates.estimate": "data_pipeline.estimates.intervals",
    "data_pipeline.tables": "data_pipeline",
    "data_pipeline.tables.connection": "data_pipeline.database.connection",
    "data_pipeline.tables.embedded": "data_pipeline.embedded",
    "data_pipeline.tables.sql": "data_pipeline.results.sql_query",
    "data_pipeline.tables.table": "data_pipeline.store.table_properties",
}
"""Where modules are now that a README named, or whose classes a pickled blob may name."""


class _Moved:
    # A finder and its loader; `importlib.abc` would take longer to import than this whole package.
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _MOVED:
            return None
        is_package = any(old.startswith(f"{name}.") for old in _MOVED)
        return ModuleSpec(name, self, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        new = _MOVED[spec.name]
        warnings.warn(
            f"`{spec.name}` has moved to `{new}`; import what pipelines use from `data_pipeline` "
            "itself. The old path goes with the next version.",
            DeprecationWarning,
            stacklevel=2,
        )

        def found(name: str) -> Any:
            if name.startswith("__"):  # its own, such as the path of a package
                raise AttributeError(name)
            return getattr(importlib.import_module(new), name)

        module = ModuleType(spec.name)
        module.__getattr__ = found  # type: ignore[method-assign] # that of a module
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: names are looked up where they are now."""


def install() -> None:
    """Let Python find modules by their earlier paths."""
    if not any(type(finder).__name__ == _Moved.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
