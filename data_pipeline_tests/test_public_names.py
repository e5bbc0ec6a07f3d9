"""What pipelines import: from `data_pipeline` itself, and by earlier paths for this version."""

import importlib
import pickle
import subprocess
import sys

import pytest

import data_pipeline
from data_pipeline import deprecated_imports

PROMISED = [
    "Stage",
    "Table",
    "Tables",
    "View",
    "ForeignKey",
    "table_properties",
    "sql_query",
    "sql_file",
    "copy_filtered_inputs",
    "copy_inputs",
    "InputCopy",
    "sampled_inputs",
    "outside_input",
    "shared_output",
    "fingerprint_of_files",
    "fingerprint_of_frame",
    "fingerprint_of_table",
    "INSTANCE_PARTITIONS",
    "RAW_TO_SAMPLED",
    "InstanceResource",
    "load_configuration",
    "table_checks",
    "check_samples",
    "sampled_inputs_with_report",
    "instance_definitions",
    "instance_resources",
    "memoised",
    "estimates",
]


@pytest.mark.parametrize("name", PROMISED)
def test_what_pipelines_need_is_imported_from_the_package(name: str) -> None:
    assert getattr(data_pipeline, name).__doc__
    assert name in dir(data_pipeline)
    assert name in data_pipeline.__all__


def test_an_unknown_name_is_told_as_by_any_module() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Tabel' from 'data_pipeline'"):
        from data_pipeline import Tabel  # type: ignore[attr-defined]  # noqa: F401


EARLIER = """
import importlib, sys, warnings
for path in sys.argv[1:]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            importlib.import_module(path)
        except DeprecationWarning as warning:
            print(path, warning, sep=": ")
    importlib.import_module(path)
    for other in sys.argv[1:]:  # which it may have imported along
        sys.modules.pop(other, None)
"""
"""Says by which warning each path is met that it is given, and imports it."""


@pytest.mark.parametrize(
    ("module", "more"), [("data_pipeline", {"yaml"}), ("data_pipeline.cli", set())]
)
def test_importing_it_loads_nothing_that_takes_long(module: str, more: set[str]) -> None:
    slow = {"dagster", "sqlalchemy", "pandas", "pyarrow", "pydantic", *more}
    code = f"import sys, {module}; print([m for m in sys.modules if m in {slow}])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_earlier_paths_work_with_a_warning() -> None:
    paths = sorted(deprecated_imports._MOVED, reverse=True)  # a package after what is in it
    ended = subprocess.run([sys.executable, "-c", EARLIER, *paths], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = dict(line.split(": ", 1) for line in ended.stdout.splitlines())
    assert list(told) == paths
    for path, warning in told.items():
        assert f"`{path.split('.')[0]}." in warning
        assert "import what pipelines use from `data_pipeline` itself" in warning


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_earlier_paths_give_the_same_objects() -> None:
    tables = importlib.import_module("data_pipeline.tables")
    sources = importlib.import_module("data_pipeline.caching.sources")
    assert tables.Table is data_pipeline.Table
    assert tables.sql_query is data_pipeline.sql_query
    assert sources.outside_input is data_pipeline.outside_input
    with pytest.raises(AttributeError):
        _ = tables.nothing


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("place", ["estimates.estimate", "sampling.estimates.estimate"])
def test_a_blob_pickled_by_an_earlier_version_is_loaded(place: str) -> None:
    from data_pipeline.estimates import Estimate

    blob = pickle.dumps(Estimate, protocol=0)
    earlier = blob.replace(b"data_pipeline.estimates.intervals", f"data_pipeline.{place}".encode())
    assert earlier != blob
    assert pickle.loads(earlier) is Estimate
