"""How much of a source table an instance takes."""

import re

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter
from data_pipeline_tests.instances.conftest import Load

TEXT = """
instances:
  full:
  mini:
    attrs:
      copy_filter_cnt: 5
      copy_filter_overrides:
        flights: {copy_filter_rate: 0.5}
        flights/airlines: {copy_filter_rate: 1.0}
        flights/weather: {copy_filter_cnt: 7}
"""


def test_without_attrs_every_row_is_taken(load: Load) -> None:
    taken = load(TEXT).instance("full").copy_filter("flights", "airlines")
    assert taken == CopyFilter(cnt=None, rate=None)
    assert taken.keeps_all_rows


def test_the_more_specific_filter_wins_and_replaces_the_others(load: Load) -> None:
    mini = load(TEXT).instance("mini")
    assert mini.copy_filter("other", "airlines") == CopyFilter(cnt=5)
    assert mini.copy_filter("flights") == CopyFilter(rate=0.5)
    assert mini.copy_filter("flights", "planes") == CopyFilter(rate=0.5)
    assert mini.copy_filter("flights", "airlines") == CopyFilter(rate=1.0)
    assert mini.copy_filter("flights", "weather") == CopyFilter(cnt=7)


def test_what_keeps_all_rows() -> None:
    assert CopyFilter(rate=1.0).keeps_all_rows
    assert not CopyFilter(rate=0.99).keeps_all_rows
    assert not CopyFilter(cnt=10**12).keeps_all_rows


def test_other_attrs_are_free(load: Load) -> None:
    attrs = (
        load("instances: {one: {attrs: {copy_filter_seed: 3, any: [thing]}}}").instance("one").attrs
    )
    assert attrs == {"copy_filter_seed": 3, "any": ["thing"]}


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ("copy_filter_cnt: 0", "copy_filter_cnt: 0 does not fit: input should be greater than or"),
        ("copy_filter_cnt: 1.5", "copy_filter_cnt: 1.5 does not fit: input should be a valid int"),
        ("copy_filter_cnt: some", "copy_filter_cnt: 'some' does not fit: input should be a valid"),
        ("copy_filter_cnt: true", "copy_filter_cnt: True does not fit: a number is needed"),
        ("copy_filter_rate: 0", "copy_filter_rate: 0 does not fit: input should be greater than 0"),
        ("copy_filter_rate: 1.1", "copy_filter_rate: 1.1 does not fit: input should be less than"),
        ("copy_filter_rate: .nan", "copy_filter_rate: nan does not fit: input should be a finite"),
        (
            "copy_filter_rate: half",
            "copy_filter_rate: 'half' does not fit: input should be a valid",
        ),
        (
            "copy_filtered_input: maybe",
            "copy_filtered_input: 'maybe' does not fit: input should be",
        ),
        ("copy_per_user: 3", "copy_per_user: 3 does not fit: input should be a valid boolean"),
        ("copy_source: 3", "copy_source: 3 does not fit: input should be a valid string. Write a"),
        (
            "copy_filter_count: 3",
            "copy_filter_count: the key 'copy_filter_count' has no meaning, "
            "but is too much like one that has. Did you mean 'copy_filter_cnt'?",
        ),
        (
            "copy_filters: {s: {copy_filter_cnt: 1}}",
            "copy_filters: the key 'copy_filters' has no meaning, but is too much like one that "
            "has.",
        ),
        (
            "copy_filter_cnt: 1, copy_filter_rate: 0.5",
            "copy_filter_cnt and copy_filter_rate exclude "
            "each other. Keep one, and set the other to null if it is inherited.",
        ),
        (
            "copy_filter_overrides: 3",
            "copy_filter_overrides: 3 does not fit: a mapping",
        ),
        (
            "copy_filter_overrides: {s: 3}",
            "copy_filter_overrides.s: 3 does not fit: a",
        ),
        (
            "copy_filter_overrides: {a/b/c: {copy_filter_cnt: 1}}",
            "copy_filter_overrides.a/b/c: a key here must be a stage, or a stage and a table: "
            "'stage/table'",
        ),
        (
            "copy_filter_overrides: {s: {}}",
            "copy_filter_overrides.s: copy_filter_cnt or "
            "copy_filter_rate is needed (rate 1.0: all rows)",
        ),
        (
            "copy_filter_overrides: {s: {copy_filter_cnt: 1, copy_filter_rate: 0.5}}",
            "copy_filter_overrides.s: copy_filter_cnt and copy_filter_rate exclude each other",
        ),
        (
            "copy_filter_overrides: {s: {copy_filter_count: 1}}",
            "copy_filter_overrides.s."
            "copy_filter_count: unknown key 'copy_filter_count'. Did you mean 'copy_filter_cnt'?",
        ),
        (
            "copy_filter_overrides: {s: {copy_filter_cnt: -1}}",
            "copy_filter_overrides.s.copy_filter_cnt: -1 does not fit: input should be greater",
        ),
    ],
)
def test_wrong_attrs(load: Load, file: str, attrs: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        load(f"instances: {{mini: {{attrs: {{{attrs}}}}}}}")
    assert str(caught.value).startswith(f"{file}: instances.mini.attrs")
