"""The rules by which layers of configuration merge."""

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.instances.merged_layers import locate, merge, merge_all

LEAVES = st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
KEYS = st.sampled_from("abc")
TREES = st.dictionaries(
    KEYS,
    st.recursive(st.none() | LEAVES, lambda below: st.dictionaries(KEYS, below), max_leaves=8),
)


def nulls(tree: dict[str, Any]) -> bool:
    return any(v is None or (isinstance(v, dict) and nulls(v)) for v in tree.values())


def test_mappings_merge_lists_replace_null_deletes() -> None:
    base = {"m": {"x": 1, "y": 2}, "l": [1, 2], "n": 3, "d": {"z": 1}}
    over = {"m": {"y": 3}, "l": [4], "n": None, "d": None}
    assert merge(base, over) == {"m": {"x": 1, "y": 3}, "l": [4]}


def test_a_later_layer_starts_afresh_after_a_null() -> None:
    layers: list[dict[str, Any]] = [{"m": {"x": 1}}, {"m": None}, {"m": {"y": 2}}]
    assert merge_all(layers) == {"m": {"y": 2}}


@given(TREES, TREES)
def test_each_key_follows_the_more_specific_layer(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    merged = merge_all([base, over])
    for key in base.keys() | over.keys():
        below, above = base.get(key), over.get(key)
        if key not in over:
            expected = merge_all([{key: below}]).get(key)
        elif isinstance(above, dict):
            expected = merge_all([below if isinstance(below, dict) else {}, above])
        else:
            expected = above
        assert merged.get(key) == expected


@given(TREES, TREES)
def test_the_result_holds_no_null_and_no_key_of_its_own(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    merged = merge_all([base, over])
    assert not nulls(merged)
    assert merged.keys() <= base.keys() | over.keys()


@given(TREES)
def test_an_empty_layer_and_the_same_layer_again_change_nothing(tree: dict[str, Any]) -> None:
    once = merge_all([tree])
    assert merge_all([{}, tree, {}]) == once
    assert merge_all([tree, tree]) == once


@given(TREES, TREES)
def test_the_layers_stay_as_they_are(base: dict[str, Any], over: dict[str, Any]) -> None:
    before = deepcopy((base, over))
    merge_all([base, over])
    assert (base, over) == before


def test_a_merged_value_knows_where_it_was_written() -> None:
    layers = [locate({"a": {"x": 1, "y": [1]}}, "low"), locate({"a": {"x": 2}}, "high")]
    assert merge_all(layers) == {"a": {"x": (2, "high.a.x"), "y": ([1], "low.a.y")}}
