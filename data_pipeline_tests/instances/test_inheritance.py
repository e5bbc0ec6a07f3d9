"""An instance inherits: defaults < connection < technical setup < `__any__` < the instance."""

import os
from pathlib import Path

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, load_configuration
from data_pipeline_tests.instances.conftest import Load


def test_an_instance_without_any_key_has_the_defaults(load: Load, tmp_path: Path) -> None:
    one = load("instances: {one: }", {"DATA_PIPELINE_HOME": str(tmp_path)}).instance("one")
    assert one.instance_id == "one"
    assert one.table_store.url.is_embedded
    assert one.table_store.schema_prefix == "one_"
    assert not one.table_store.print_sql
    assert not one.table_store.unlogged
    assert not one.table_store.create_database_if_not_exists
    assert one.blob_store.base_path == tmp_path / "blobs"
    assert one.cache_validation.mode == "normal"
    assert not one.cache_validation.ignore_code_version
    assert one.attrs == {}


LAYERS = """
table_store_connections:
  c: {url: embedded, print_sql: true, schema_prefix: "{instance_id}_c_"}
technical_setups:
  default: {table_store: {table_store_connection: c, unlogged: true}}
  quiet: {table_store: {table_store_connection: c, print_sql: false}}
instances:
  __any__: {attrs: {m: {x: 1, y: 2}, l: [1, 2]}}
  plain: {instance_id: plain}
  quiet: {technical_setup: quiet, attrs: {m: {y: 3}, l: [4]}}
  own: {table_store: {schema_prefix: "{instance_id}_own_", print_sql: null}, attrs: null}
"""


def test_a_connection_is_overridden_by_the_store_that_refers_to_it(load: Load) -> None:
    configuration = load(LAYERS)
    assert configuration.instance("plain").table_store.print_sql
    assert configuration.instance("plain").table_store.unlogged
    assert not configuration.instance("quiet").table_store.print_sql
    assert configuration.instance("own").table_store.schema_prefix == "own_own_"


def test_another_technical_setup_replaces_the_default_one(load: Load) -> None:
    assert not load(LAYERS).instance("quiet").table_store.unlogged


def test_null_gives_the_default_back_even_over_a_connection(load: Load) -> None:
    assert not load(LAYERS).instance("own").table_store.print_sql
    assert load(LAYERS).instance("own").attrs == {}


def test_attrs_merge_and_lists_in_them_replace(load: Load) -> None:
    assert load(LAYERS).instance("plain").attrs == {"m": {"x": 1, "y": 2}, "l": [1, 2]}
    assert load(LAYERS).instance("quiet").attrs == {"m": {"x": 1, "y": 3}, "l": [4]}


def test_an_instance_can_choose_another_connection(load: Load) -> None:
    text = """
table_store_connections: {a: {url: embedded}, b: {url: "postgresql://h/b"}}
technical_setups: {default: {table_store: {table_store_connection: a, print_sql: true}}}
instances: {one: {table_store: {table_store_connection: b}}}
"""
    store = load(text).instance("one").table_store
    assert load(text).unused == ("table_store_connections.a",)
    assert store.url.reveal() == "postgresql://h/b"
    assert store.table_store_connection == "b"
    assert store.print_sql


def test_changing_given_attrs_does_not_change_the_instance(load: Load) -> None:
    text = "instances: {one: {attrs: {m: {x: 1}, l: [1], s: !!set {a}}}}"
    one = load(text).instance("one")
    one.attrs["m"]["x"] = 2
    one.attrs["l"].append(2)
    one.attrs["s"].add("b")
    for same in (one, load(text).instance("one")):
        assert same.attrs == {"m": {"x": 1}, "l": [1], "s": {"a"}}


def test_a_changed_file_is_read_anew_whatever_its_time_says(load: Load, file: Path) -> None:
    for x in (1, 2, 1):
        configuration = load(f"instances: {{one: {{attrs: {{x: {x}}}}}}}")
        assert configuration.instance("one").attrs == {"x": x}
        os.utime(file, ns=(0, 0))
        assert load_configuration(file).instance("one").attrs == {"x": x}


def test_changed_variables_count_although_the_file_is_the_same(load: Load) -> None:
    text = 'instances: {one: {attrs: {x: "{$X}"}}}'
    assert [load(text, {"X": x}).instance("one").attrs["x"] for x in "ab"] == ["a", "b"]


def test_yaml_anchors_and_merge_keys_work(load: Load) -> None:
    text = """
instances:
  one: &one {attrs: &attrs {a: 1, b: 2}}
  two: {<<: *one, instance_id: zwei, attrs: {<<: *attrs, b: 3}}
"""
    assert load(text).instance("two").attrs == {"a": 1, "b": 3}


def test_a_filter_of_another_kind_needs_the_inherited_one_deleted(load: Load) -> None:
    text = """
instances:
  __any__: {attrs: {copy_filter_cnt: 5}}
  full:
  midi: {attrs: {copy_filtered_input: true, copy_source: full, copy_filter_rate: 0.5%s}}
"""
    with pytest.raises(ConfigurationError, match="exclude each other"):
        load(text % "")
    configuration = load(text % ", copy_filter_cnt: null")
    assert configuration.instance("midi").copy_filter("s") == CopyFilter(rate=0.5)


def test_an_unknown_instance_is_an_error_that_lists_the_known_ones(load: Load) -> None:
    configuration = load("instances: {full: , mini: }")
    with pytest.raises(
        ConfigurationError,
        match=r"no instance 'minni'\. Did you mean 'mini'\? Known here: 'full', 'mini'",
    ):
        configuration.instance("minni")
