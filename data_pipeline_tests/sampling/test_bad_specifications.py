"""Specifications and declarations that cannot be followed: errors say what, where and what else."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.sampling.schemas import Schema, schema, to

ROOTS = {"a": {"rate": 0.5}}


def made(engine: sa.Engine, *keys: ForeignKey) -> Schema:
    return schema(
        engine,
        [
            "CREATE TABLE a AS SELECT 1 AS id, 'x' AS word",
            "CREATE TABLE b AS SELECT 1 AS id, 1 AS a, '1' AS text",
        ],
        a={"primary_key": "id"},
        b={"primary_key": "id", "foreign_keys": keys},
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"roots": {**ROOTS, "inputs/c": {"rate": 0.1}}},
            "sample.roots: stage `inputs` has no table `c`",
        ),
        ({"roots": {"a": {"rate": 1}, "inputs/a": {"rate": 1}}}, "are the same table. Keep one"),
        (
            {"cover": {"columns": {"inputs/c": ["id"]}}},
            "sample.cover.columns: stage `inputs` has no table",
        ),
        ({"cover": {"columns": {"a": ["wort"]}}}, "no column `wort`. Its columns are `id`, `word`"),
        (
            {"cover": {"predicates": {"a": {"bad": "id >"}}}},
            "does not understand the predicate `bad` of `inputs/a`, 'id >': syntax error",
        ),
        (
            {"cover": {"predicates": {"a": {"bad": "wort = 'x'"}}}},
            'column "wort" does not exist',
        ),
    ],
)
def test_a_specification_that_does_not_fit_the_tables(
    engine: sa.Engine, settings: dict[str, Any], message: str
) -> None:
    source = made(engine)
    with pytest.raises(ConfigurationError) as caught:
        source.sample(**{"roots": ROOTS, **settings})
    assert message in str(caught.value)


@pytest.mark.parametrize("more", [{}, {"size": "minimal"}])
@pytest.mark.parametrize(
    ("cover", "message"),
    [
        ({"columns": {"b": ["idd"]}}, "sample.cover.columns: table `inputs/b` has no column `idd`"),
        ({"predicates": {"b": {"bad": "idd > 0"}}}, "the predicate `bad` of `inputs/b`, 'idd > 0'"),
    ],
)
def test_what_is_covered_is_checked_for_tables_that_come_whole_too(
    engine: sa.Engine, cover: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    source = made(engine)
    with pytest.raises(ConfigurationError) as caught:
        source.sample(roots=ROOTS, cover=cover, **more)
    assert message in str(caught.value)


def test_a_predicate_that_fails_on_some_row(engine: sa.Engine) -> None:
    source = schema(
        engine,
        ["CREATE TABLE a AS SELECT g AS id, g AS r FROM generate_series(1, 1000) g"],
        a={"primary_key": "id"},
    )
    predicates = {"good": "r > 3", "bad": "1 / (r - 5) > 0"}
    with pytest.raises(ConfigurationError) as caught:
        source.sample(roots={"a": {"rate": 0.01}}, cover={"predicates": {"a": predicates}})
    assert str(caught.value) == (
        "sample.cover.predicates: the predicate `bad` of `inputs/a`, '1 / (r - 5) > 0', fails on "
        "a row of the source: division by zero\n"
        "Write it such that it holds for such rows or not, with CASE for example."
    )


@pytest.mark.parametrize("text", ["true) or (false", "true, true", "true)) --", "id > 0;"])
def test_a_predicate_that_is_no_condition(engine: sa.Engine, text: str) -> None:
    with pytest.raises(ConfigurationError, match="does not understand the predicate `bad`"):
        made(engine).sample(roots=ROOTS, cover={"predicates": {"a": {"bad": text}}})


@pytest.mark.parametrize("text", ["word = 'x' -- rare", "word = 'x' /* rare */", "word <> ')'"])
def test_a_predicate_with_comments_and_parentheses(engine: sa.Engine, text: str) -> None:
    source = made(engine)
    sample = source.sample(roots=ROOTS, cover={"columns": {}, "predicates": {"a": {"rare": text}}})
    assert sample.keys("a") == {(1,)}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (to("aa", "a", "id"), "names the column `aa`, which `b` does not have"),
        (to("a", "a", "idd"), "names the column `idd`, which `a` does not have"),
        (to("text", "a", "id"), "`b.text` is of type text, but `a.id` is of type integer"),
    ],
)
def test_a_relationship_that_cannot_be_followed(
    engine: sa.Engine, key: ForeignKey, message: str
) -> None:
    source = made(engine, key)
    with pytest.raises(ConfigurationError) as caught:
        source.sample(roots=ROOTS)
    assert message in str(caught.value)


def test_a_condition_of_a_relationship_with_a_syntax_error(engine: sa.Engine) -> None:
    source = made(engine, to("a", "a", "id", "text ="))
    with pytest.raises(ConfigurationError, match="PostgreSQL does not understand the condition"):
        source.sample(roots=ROOTS)


def test_tables_of_other_stages_need_no_stage_before_their_names(engine: sa.Engine) -> None:
    """Whether another stage has them is checked where all stages are known."""
    plan = made(engine).plan(
        roots={**ROOTS, "c": {"rate": 0.1}},
        pins={"c": [{"id": 1}]},
        cover={"columns": {"c": ["id"]}, "predicates": {"c": {"some": "id > 1"}}},
    )
    assert list(plan.roots) == ["a"]
    assert (plan.pins, plan.columns, plan.predicates) == ({}, {}, {})


def test_a_stage_without_a_root_has_no_plan(engine: sa.Engine) -> None:
    source = made(engine)
    with pytest.raises(AssertionError):
        source.plan(roots={"elsewhere": {"rate": 0.1}})
