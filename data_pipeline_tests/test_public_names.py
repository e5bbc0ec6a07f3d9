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


@pytest.mark.parametrize(
    ("module", "more"), [("data_pipeline", {"yaml"}), ("data_pipeline.cli", set())]
)
def test_importing_it_loads_nothing_that_takes_long(module: str, more: set[str]) -> None:
    slow = {"dagster", "sqlalchemy", "pandas", "pyarrow", "pydantic", *more}
    code = f"import sys, {module}; print([m for m in sys.modules if m in {slow}])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(deprecated_imports._MOVED))
def test_an_earlier_path_works_with_a_warning(path: str) -> None:
    code = f"import warnings; warnings.simplefilter('error'); import {path}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"DeprecationWarning: `{path.split('.')[0]}." in ended.stderr
    assert "import what pipelines use from `data_pipeline` itself" in ended.stderr
    subprocess.run([sys.executable, "-c", f"import {path}"], check=True)


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
