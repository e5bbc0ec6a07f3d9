"""A query reads what its run has staged, by whatever way it names the tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.sql_text import renamed

OLD, NEW = RelationName("full_s", "t"), RelationName("full_s__staging", "t")


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("full_s.t", "full_s__staging.t"),
        ("FULL_S.T", "full_s__staging.t"),
        ('"full_s"."t"', '"full_s__staging"."t"'),
        ('full_s."t"', 'full_s__staging."t"'),
        ("full_s . t", "full_s__staging.t"),
        ("full_s\n.\n  t", "full_s__staging.t"),
    ],
)
def test_every_way_to_write_a_name_is_understood(name: str, new: str) -> None:
    sql = f"SELECT a FROM {name} WHERE b"
    assert renamed(sql, {OLD: NEW}) == f"SELECT a FROM {new} WHERE b"


def test_a_query_reads_the_same_wherever_its_tables_lie() -> None:
    for sql in ("SELECT a FROM full_s.t", 'SELECT a FROM "full_s"."t"'):
        assert renamed(renamed(sql, {OLD: NEW}), {NEW: OLD}) == sql


def test_a_name_that_needs_quotes_gets_them() -> None:
    new = RelationName("full_S", "t")
    assert renamed("SELECT * FROM full_s.t", {OLD: new}) == 'SELECT * FROM "full_S".t'


def test_columns_that_are_named_with_their_table_follow_it() -> None:
    sql = "SELECT full_s.t.a FROM full_s.t, full_s.u"
    new = "full_s__staging.t"
    assert renamed(sql, {OLD: NEW}) == f"SELECT {new}.a FROM {new}, full_s.u"


@pytest.mark.parametrize(
    "text",
    [
        "'full_s.t'",
        "E'\\'full_s.t'",
        "$$full_s.t$$",
        "$x$ $$ full_s.t $x$",
        "-- full_s.t\n",
        "/* /* */ full_s.t */",
        '"full_s.t"',
        '"full_S".t',
        'full_s."T"',
        "xfull_s.t",
        "full_s.tx",
        "full_s.t$",
        "x.full_s.t",
        '"x".full_s.t',
        "Ü.t",
    ],
)
def test_what_only_looks_like_the_name_stays(text: str) -> None:
    sql = f"SELECT {text}, full_s.t"
    names = {OLD: NEW, RelationName("ü", "t"): NEW}
    assert renamed(sql, names) == f"SELECT {text}, full_s__staging.t"


def test_quotes_and_unusual_letters_in_names_are_understood() -> None:
    old, new = RelationName('a"b', "größe"), RelationName('a"b__staging', "größe")
    assert renamed('SELECT * FROM "a""b".größe', {old: new}) == (
        'SELECT * FROM "a""b__staging"."größe"'
    )


pieces = st.sampled_from(
    [
        "full_s",
        "t",
        ".",
        " ",
        "\n",
        "'",
        '"',
        "$$",
        "--",
        "/*",
        "*/",
        "E'",
        "\\",
        "a",
        ",",
        ";",
        "(",
    ]
)
queries = st.lists(pieces).map("".join)


@given(queries)
def test_without_a_table_of_that_name_no_letter_changes(sql: str) -> None:
    other = RelationName("mini_s", "t")
    assert renamed(sql, {other: NEW}) == sql


@given(queries)
def test_back_and_forth_gives_what_is_equal(sql: str) -> None:
    there = renamed(sql, {OLD: NEW})
    back = renamed(there, {NEW: OLD})
    assert renamed(back, {OLD: NEW}) == there
