"""The file that comes with the package."""

import subprocess
import sys
from pathlib import Path

import pytest

import data_pipeline
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, load_configuration
from data_pipeline.instances.settings.sample import RootSettings

PACKAGE = Path(data_pipeline.__file__).parent


def test_it_needs_no_environment_variable_and_has_the_three_instances_in_order() -> None:
    configuration = load_configuration(environ={})
    assert configuration.name == "data_pipeline"
    assert configuration.file == PACKAGE / "instances.yaml"
    assert list(configuration.instances) == ["full", "midi", "mini"]
    assert all(i.table_store.url.is_embedded for i in configuration.instances.values())


def test_midi_and_mini_copy_from_full() -> None:
    configuration = load_configuration(environ={})
    full = configuration.instance("full")
    assert full.source is None
    assert not full.copies
    assert configuration.instance("midi").source is full
    assert configuration.instance("mini").source is full


def test_the_quickstart_keeps_two_rows_in_midi_and_one_in_mini() -> None:
    configuration = load_configuration(environ={})
    assert configuration.instance("full").copy_filter("stage_1", "dfa").keeps_all_rows
    assert configuration.instance("midi").copy_filter("stage_1", "dfa") == CopyFilter(cnt=2)
    assert configuration.instance("mini").copy_filter("stage_1", "dfa") == CopyFilter(cnt=1)


def test_flights_are_sampled_at_five_percent_in_midi_and_minimally_in_mini() -> None:
    configuration = load_configuration(environ={})
    midi, mini = (configuration.instance(name).sample for name in ("midi", "mini"))
    assert midi is not None
    assert mini is not None
    assert midi.roots == {"flights": RootSettings(rate=0.05)}
    assert midi.cover.columns is None
    assert midi.cover.category_limit > 105, "so many destinations are there"
    assert mini.is_minimal
    assert midi.salt == mini.salt
    assert configuration.instance("full").sample is None


def test_home_is_in_the_project_by_default() -> None:
    configuration = load_configuration(environ={})
    assert configuration.home == PACKAGE.parent / ".data_pipeline"
    assert configuration.instance("mini").blob_store.base_path == configuration.home / "blobs"


def test_home_can_be_moved(tmp_path: Path) -> None:
    configuration = load_configuration(environ={"DATA_PIPELINE_HOME": str(tmp_path)})
    assert configuration.home == tmp_path
    assert configuration.instance("mini").home == tmp_path
    assert configuration.instance("mini").blob_store.base_path == tmp_path / "blobs"


def test_another_file_can_be_named_by_variable_or_argument(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("instances: {one: }")
    two.write_text("instances: {two: }")
    environ = {"DATA_PIPELINE_CONFIG": str(one)}
    assert list(load_configuration(environ=environ).instances) == ["one"]
    assert list(load_configuration(str(two), environ=environ).instances) == ["two"]


def test_reading_it_imports_no_heavy_library() -> None:
    code = (
        "import sys; from data_pipeline.instances import load_configuration; load_configuration();"
        "print([m for m in ('dagster', 'sqlalchemy', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_packages_are_tracked_when_they_are_named(tmp_path: Path) -> None:
    file = tmp_path / "instances.yaml"
    shipped = load_configuration()
    assert shipped.tracked_packages == ()
    file.write_text(
        shipped.file.read_text().replace(
            "tracked_packages: []", "tracked_packages: [scikit-learn, polars]"
        )
    )
    assert load_configuration(file).tracked_packages == ("scikit-learn", "polars")
    file.write_text(shipped.file.read_text().replace("packages: []", "packages: scikit-learn"))
    with pytest.raises(ConfigurationError, match=r"tracked_packages: .* is no list"):
        load_configuration(file)
