"""Where an instance copies its input tables from."""

import re

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.instances.conftest import Load

TEXT = """
instances:
  full:
  midi: {{attrs: {{copy_filtered_input: true, copy_source: full, copy_per_user: {midi}}}}}
  mini: {{attrs: {{copy_filtered_input: true, copy_source: midi, copy_per_user: {mini}}}}}
"""


def test_an_instance_that_loads_for_itself_has_no_source(load: Load) -> None:
    full = load("instances: {full: {attrs: {copy_source: mini}}, mini: }").instance("full")
    assert full.source is None
    assert not full.copies
    assert full.root_source is full


def test_sources_can_form_a_chain_that_ends_where_data_is_loaded(load: Load) -> None:
    configuration = load(TEXT.format(midi="false", mini="false"))
    full, midi, mini = configuration.instances.values()
    assert mini.source is midi
    assert midi.source is full
    assert mini.root_source is midi.root_source is full


def test_per_user_or_not_the_shared_source_is_read(load: Load) -> None:
    text = TEXT.format(midi="false", mini="false")
    assert load(text, per_user=False).instance("midi").source.instance_id == "full"  # type: ignore[union-attr] # it has one
    configuration = load(text, per_user=True)
    midi = configuration.instance("midi")
    assert midi.instance_id == "midi_ann"
    assert midi.source is not None
    assert midi.source.instance_id == "full"
    assert configuration.instance("full").instance_id == "full_ann"


def test_copy_per_user_reads_the_users_own_source(load: Load) -> None:
    text = TEXT.format(midi="true", mini="true")
    for per_user, own in ((False, "midi"), (True, "midi_ann")):
        midi = load(text, per_user=per_user).instance("midi")
        assert midi.instance_id == own
        assert midi.source is not None
        assert midi.source.instance_id == "full_ann"
        assert midi.source.schema("raw") == "full_ann_raw"


def test_each_link_of_a_chain_decides_for_itself(load: Load) -> None:
    mini = load(TEXT.format(midi="false", mini="true")).instance("mini")
    assert mini.instance_id == "mini"
    assert mini.source is not None
    assert mini.source.instance_id == "midi_ann"
    assert mini.root_source.instance_id == "full"


def test_a_partition_key_means_the_instance_that_the_chain_leads_to(load: Load) -> None:
    configuration = load(TEXT.format(midi="false", mini="true"))
    mini = configuration.instance("mini")
    read = {name: configuration.read_by(mini, name).instance_id for name in configuration.instances}
    assert read == {"full": "full", "midi": "midi_ann", "mini": "mini"}


BUILD = "dagster job execute -m data_pipeline.definitions -j full"


@pytest.mark.parametrize(
    ("own", "environment", "argument", "command"),
    [
        ("false", None, None, BUILD),
        ("false", "1", None, f"DATA_PIPELINE_PER_USER=0 {BUILD}"),
        ("false", "1", False, f"DATA_PIPELINE_PER_USER=0 {BUILD}"),
        ("false", None, True, BUILD),
        ("true", None, None, f"DATA_PIPELINE_PER_USER=1 {BUILD}"),
        ("true", "1", None, BUILD),
    ],
)
def test_the_command_that_builds_the_source_builds_that_one(
    load: Load, own: str, environment: str | None, argument: bool | None, command: str
) -> None:
    environ = {} if environment is None else {"DATA_PIPELINE_PER_USER": environment}
    configuration = load(TEXT.format(midi=own, mini=own), environ, per_user=argument)
    source = configuration.instance("midi").source
    assert source is not None
    assert source.build_command == command


COPY = "copy_filtered_input: true"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{{full: , mini: {{attrs: {{{COPY}, copy_source: fulll}}}}}}",
            "instances.mini.attrs.copy_source: there is no instance 'fulll'. Did you mean 'full'?",
        ),
        (
            f"{{full: , mini: {{attrs: {{{COPY}}}}}}}",
            "instances.mini.attrs.copy_source: copy_filtered_input is true, but there is no "
            "copy_source. Name the instance to copy from",
        ),
        (
            f"{{full: {{attrs: {{{COPY}, copy_source: full}}}}}}",
            "instances.full.attrs.copy_source: instances copy from each other in a circle: "
            "full -> full. One of them must load for itself",
        ),
        (
            f"{{mini: {{attrs: {{{COPY}, copy_source: a}}}}, "
            f"a: {{attrs: {{{COPY}, copy_source: b}}}}, b: {{attrs: {{{COPY}, copy_source: a}}}}}}",
            "instances.b.attrs.copy_source: instances copy from each other in a circle: "
            "a -> b -> a. One of them must load for itself",
        ),
        (
            "{full: {table_store: {url: 'postgresql://h/one'}}, "
            f"mini: {{attrs: {{{COPY}, copy_source: full}}}}}}",
            "instances.mini.attrs.copy_source: instance 'mini' lives in embedded, but copies from "
            "'full' in another database, postgresql://h/one. Give both the same table_store url",
        ),
    ],
)
def test_wrong_sources(load: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load(f"instances: {text}")


def test_one_database_can_be_reached_as_two_users(load: Load) -> None:
    text = f"""
instances:
  full: {{table_store: {{url: "postgresql://writer:a@h/db"}}}}
  mini:
    table_store: {{url: "postgresql://tester:b@h:5432/db"}}
    attrs: {{{COPY}, copy_source: full}}
"""
    assert load(text).instance("mini").copies
