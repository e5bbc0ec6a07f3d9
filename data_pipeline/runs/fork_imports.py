"""What the fork server imports for all steps; importing this module is what does it.

But for polars, which starts threads when it is imported: a copy of the process has none of them,
and may wait for one. The driver would import it, where it is installed, for frames that we do not
ask it for. A step that uses polars imports it by itself.
"""

import gc
import importlib
import sys

_MODULES = (
    "adbc_driver_postgresql.dbapi",
    "dagster._cli",  # the program that most runs are started by, which a step loads again
    "dagster._core.storage.local_compute_log_manager",
    "psycopg2.extras",
    "pyarrow",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "upath.implementations.local",  # Dagster's storages ask for it
    "data_pipeline.assembly",
    "data_pipeline.commit.commit",
    "data_pipeline.dagster_storage",
    "data_pipeline.results.writing",
    "data_pipeline.transfer.content_hash",
    "data_pipeline.transfer.copy_in",
    "data_pipeline.transfer.copy_out",
)
_HELD_BACK = "polars"

if _HELD_BACK not in sys.modules:
    sys.modules[_HELD_BACK] = None  # type: ignore[assignment] # Python's way to refuse an import
    try:
        for _name in _MODULES:
            importlib.import_module(_name)
    finally:
        del sys.modules[_HELD_BACK]
    gc.freeze()  # copies share these objects as long as no collection walks through them
