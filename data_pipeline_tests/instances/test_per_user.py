"""Per-user instances: ids with the user's name, so that people who share a database do not meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.configuration import MAX_IDENTIFIER_BYTES
from data_pipeline.instances.names_of_instances_and_users import user_identifier
from data_pipeline_tests.instances.conftest import Load

TEXT = """
instances:
  full: {instance_id: voll}
  midi: {per_user: true}
"""


def ids(load: Load, environ: dict[str, str], per_user: bool | None = None) -> list[str]:
    configuration = load(TEXT, environ, per_user=per_user)
    assert list(configuration.instances) == ["full", "midi"], "partition keys stay the same"
    return [instance.instance_id for instance in configuration.instances.values()]


def test_the_file_says_it_of_one_instance(load: Load) -> None:
    assert ids(load, {}) == ["voll", "midi_ann"]


def test_the_environment_says_it_of_all(load: Load) -> None:
    assert ids(load, {"DATA_PIPELINE_PER_USER": "1"}) == ["voll_ann", "midi_ann"]
    assert ids(load, {"DATA_PIPELINE_PER_USER": "0"}) == ["voll", "midi"]
    assert ids(load, {"DATA_PIPELINE_PER_USER": ""}) == ["voll", "midi_ann"]


def test_the_argument_wins(load: Load) -> None:
    assert ids(load, {}, per_user=True) == ["voll_ann", "midi_ann"]
    assert ids(load, {"DATA_PIPELINE_PER_USER": "1"}, per_user=False) == ["voll", "midi"]


def test_a_variable_that_is_neither_yes_nor_no_is_an_error(load: Load) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"DATA_PIPELINE_PER_USER: 'maybe' is neither yes nor no\. Set it to 1 or 0",
    ):
        ids(load, {"DATA_PIPELINE_PER_USER": "maybe"})


def test_schemas_and_prefix_follow_the_id(load: Load) -> None:
    midi = load(TEXT).instance("midi")
    assert midi.schema("stage_1") == "midi_ann_stage_1"
    assert midi.catalog_schema == "midi_ann_catalog"


def test_the_template_can_be_another(load: Load) -> None:
    text = 'instances: {full: {per_user: true, per_user_template: "{username}_{id}"}}'
    assert load(text).instance("full").instance_id == "ann_full"


@pytest.mark.parametrize("template", ["{id}_x", "{username}", "x"])
def test_a_template_without_both_parts_is_an_error(load: Load, template: str) -> None:
    text = f'instances: {{full: {{per_user: true, per_user_template: "{template}"}}}}'
    with pytest.raises(
        ConfigurationError,
        match=r"instances\.full\.per_user_template: .*Use both \{id\} and \{username\}",
    ):
        load(text)


def test_a_template_that_gives_no_valid_id_is_an_error(load: Load) -> None:
    text = 'instances: {full: {per_user: true, per_user_template: "{id}__{username}"}}'
    with pytest.raises(
        ConfigurationError, match=r"per_user_template: 'full__ann' cannot be an instance id"
    ):
        load(text)


def test_an_ordinary_user_name_stays_as_it_is() -> None:
    assert user_identifier("ann") == "ann"
    assert user_identifier("ann_lee2") == "ann_lee2"


def test_other_user_names_keep_their_letters_and_gain_a_hash() -> None:
    assert user_identifier("Ann.Lee") == "ann_lee_5a9a93ab"
    assert user_identifier("李") == "user_c16667ca"


USERS = st.text(min_size=1, max_size=40) | st.from_regex(r"[aA][._-]?[bB](_[0-9a-f]{8})?")


@given(USERS, USERS)
def test_two_users_never_become_one(one: str, other: str) -> None:
    assert (user_identifier(one) == user_identifier(other)) == (one == other)


@given(USERS)
def test_no_user_can_take_what_another_ones_name_became(user: str) -> None:
    taken = user_identifier(user)
    assert user == taken or user_identifier(taken) != taken


@given(USERS)
def test_every_user_can_be_part_of_a_schema_name(user: str) -> None:
    part = user_identifier(user)
    assert part.isascii()
    assert part.isidentifier() or part[0].isdigit()
    assert part == part.lower().strip("_")
    assert "__" not in part
    assert len(part) < MAX_IDENTIFIER_BYTES / 1.8
