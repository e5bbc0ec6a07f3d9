"""Samples of schemas of every shape: what refers to what, by which keys, and in which tables."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from data_pipeline_tests.sampling.schemas import Schema, query, schema, to

Made = Callable[[sa.Engine], Schema]


def employees(engine: sa.Engine) -> Schema:
    """Employees with managers: a table that refers to itself."""
    statement = """
        CREATE TABLE employees AS
        SELECT g AS id, nullif(g / 3, 0) AS manager FROM generate_series(1, 300) g
        UNION ALL SELECT 1000, 1000
    """
    references = [to("manager", "employees", "id")]
    return schema(engine, [statement], employees={"primary_key": "id", "foreign_keys": references})


def cycle(engine: sa.Engine) -> Schema:
    """Departments with a head, people with a department: two tables that refer to each other."""
    return schema(
        engine,
        [
            "CREATE TABLE departments AS "
            "SELECT g AS id, g * 10 AS head FROM generate_series(1, 30) g",
            "CREATE TABLE people AS "
            "SELECT g AS id, 1 + (g * 7) % 30 AS department FROM generate_series(1, 300) g",
        ],
        departments={"primary_key": "id", "foreign_keys": [to("head", "people", "id")]},
        people={"primary_key": "id", "foreign_keys": [to("department", "departments", "id")]},
    )


def diamond(engine: sa.Engine) -> Schema:
    """Orders refer to customers and to stores, which both are roots; both refer to cities."""
    return schema(
        engine,
        [
            "CREATE TABLE cities AS SELECT g AS id FROM generate_series(1, 50) g",
            "CREATE TABLE customers AS SELECT g AS id, 1 + g % 50 AS city "
            "FROM generate_series(1, 200) g",
            "CREATE TABLE stores AS SELECT g AS id, 1 + g % 50 AS city "
            "FROM generate_series(1, 100) g",
            "CREATE TABLE orders AS SELECT g AS id, 1 + (g * 31) % 200 AS customer, "
            "1 + (g * 17) % 100 AS store FROM generate_series(1, 1000) g",
        ],
        cities={"primary_key": "id"},
        customers={"primary_key": "id", "foreign_keys": [to("city", "cities", "id")]},
        stores={"primary_key": "id", "foreign_keys": [to("city", "cities", "id")]},
        orders={
            "primary_key": "id",
            "foreign_keys": [to("customer", "customers", "id"), to("store", "stores", "id")],
        },
    )


def composite_chain(engine: sa.Engine) -> Schema:
    """A chain of keys that grow, declared in another order than they are referred to."""
    return schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS x, 'k' || g AS y FROM generate_series(1, 100) g",
            "CREATE TABLE b AS SELECT x, y, g AS z FROM a, generate_series(1, 3) g",
            "CREATE TABLE c AS SELECT x, y, z, g AS n, CASE WHEN g = 2 THEN -x ELSE x END AS other "
            "FROM b, generate_series(1, 2) g",
        ],
        a={"primary_key": ["x", "y"]},
        b={"primary_key": ["x", "y", "z"], "foreign_keys": [to("y x", "a", "y x")]},
        c={
            "primary_key": ["x", "y", "z", "n"],
            "foreign_keys": [to("z y other", "b", "z y x")],
        },
    )


def bridge(engine: sa.Engine) -> Schema:
    """Many students to many courses, by a table between them."""
    return schema(
        engine,
        [
            "CREATE TABLE students AS SELECT g AS id FROM generate_series(1, 200) g",
            "CREATE TABLE courses AS SELECT g AS id FROM generate_series(1, 40) g",
            "CREATE TABLE attends AS SELECT DISTINCT 1 + (g * 13) % 200 AS student, "
            "1 + (g * g) % 40 AS course FROM generate_series(1, 900) g",
        ],
        students={"primary_key": "id"},
        courses={"primary_key": "id"},
        attends={
            "primary_key": ["student", "course"],
            "foreign_keys": [to("student", "students", "id"), to("course", "courses", "id")],
        },
    )


def polymorphic(engine: sa.Engine) -> Schema:
    """Comments on posts and on photos: the same column refers to one or the other."""
    return schema(
        engine,
        [
            "CREATE TABLE posts AS SELECT g AS id FROM generate_series(1, 100) g",
            "CREATE TABLE photos AS SELECT g AS id FROM generate_series(50, 120) g",
            "CREATE TABLE comments AS SELECT g AS id, 1 + (g * 7) % 120 AS subject, "
            "CASE WHEN g % 3 = 0 THEN 'photo' WHEN g % 3 = 1 THEN 'post' END AS kind "
            "FROM generate_series(1, 600) g",
        ],
        posts={"primary_key": "id"},
        photos={"primary_key": "id"},
        comments={
            "primary_key": "id",
            "foreign_keys": [
                to("subject", "posts", "id", "kind = 'post'"),
                to("subject", "photos", "id", "kind = 'photo'"),
            ],
        },
    )


def virtual(engine: sa.Engine) -> Schema:
    """Rates by country: many rows have the value that is referred to, which is no key."""
    return schema(
        engine,
        [
            "CREATE TABLE rates AS SELECT g AS id, 'c' || g % 20 AS country "
            "FROM generate_series(1, 100) g",
            "CREATE TABLE visits AS SELECT g AS id, 'c' || g % 25 AS country "
            "FROM generate_series(1, 500) g",
        ],
        rates={"primary_key": "id"},
        visits={"primary_key": "id", "foreign_keys": [to("country", "rates", "country")]},
    )


def without_keys(engine: sa.Engine) -> Schema:
    """Clicks without a primary key, some of them equal."""
    return schema(
        engine,
        [
            "CREATE TABLE users AS SELECT g AS id FROM generate_series(1, 100) g",
            "CREATE TABLE clicks AS SELECT 1 + g % 110 AS who, g % 2 = 0 AS good "
            "FROM generate_series(1, 800) g",
        ],
        users={"primary_key": "id"},
        clicks={"foreign_keys": [to("who", "users", "id")]},
    )


def small(engine: sa.Engine) -> Schema:
    """A table without rows, one with a single row, and one that refers to both."""
    return schema(
        engine,
        [
            "CREATE TABLE nothing (id int)",
            "CREATE TABLE one AS SELECT 1 AS id",
            "CREATE TABLE items AS SELECT g AS id, g AS none, 1 AS one "
            "FROM generate_series(1, 100) g",
        ],
        nothing={"primary_key": "id"},
        one={"primary_key": "id"},
        items={
            "primary_key": "id",
            "foreign_keys": [to("none", "nothing", "id"), to("one", "one", "id")],
        },
    )


def quoted_names(engine: sa.Engine) -> Schema:
    """Names with upper case, spaces, quotes, a percent sign, and those that SQL has itself."""
    return schema(
        engine,
        [
            'CREATE TABLE "Order" AS SELECT g AS "Select", g % 7 AS "a""b%" '
            "FROM generate_series(1, 100) g",
            'CREATE TABLE "line items" AS SELECT g AS id, 1 + g % 120 AS "Order" '
            "FROM generate_series(1, 400) g",
        ],
        **{
            "Order": {"primary_key": "Select"},
            "line items": {"primary_key": "id", "foreign_keys": [to("Order", "Order", "Select")]},
        },
    )


def keyed_by(type_: str, value: str) -> Made:
    def made(engine: sa.Engine) -> Schema:
        return schema(
            engine,
            [
                f"CREATE TABLE a AS SELECT ({value})::{type_} AS k FROM generate_series(1, 200) g",
                f"CREATE TABLE b AS SELECT id, ({value})::{type_} AS k "
                "FROM (SELECT id, 1 + id % 220 AS g FROM generate_series(1, 700) id) numbers",
            ],
            a={"primary_key": "k"},
            b={"primary_key": "id", "foreign_keys": [to("k", "a", "k")]},
        )

    made.__name__ = type_
    return made


KEYS = [
    keyed_by("text", "'ü' || g"),
    keyed_by("uuid", "md5(g::text)"),
    keyed_by("date", "date '2020-01-01' + g"),
    keyed_by("numeric", "g / 8.0"),
    keyed_by("timestamptz", "timestamptz '2020-01-01 00:00+00' + (g || ' h')::interval"),
    keyed_by("float8", "g / 3.0"),
    keyed_by("bytea", "('k' || g)::bytea"),
]
SHAPES = [
    (employees, ["employees"]),
    (cycle, ["departments"]),
    (cycle, ["people"]),
    (diamond, ["customers", "stores"]),
    (composite_chain, ["a"]),
    (bridge, ["students"]),
    (polymorphic, ["posts", "photos"]),
    (virtual, ["rates"]),
    (without_keys, ["users"]),
    (small, ["items"]),
    (quoted_names, ["Order"]),
    *((made, ["a"]) for made in KEYS),
]
IDS = [f"{made.__name__}-{'-'.join(roots)}" for made, roots in SHAPES]


@pytest.mark.parametrize(("made", "roots"), SHAPES, ids=IDS)
def test_a_sample_is_joinable_nested_and_of_the_size_asked_for(
    engine: sa.Engine, made: Made, roots: list[str]
) -> None:
    source = made(engine)
    midi = source.sample(roots={name: {"rate": 0.2} for name in roots}, small_table_rows=0)
    mini = source.sample(roots={name: {} for name in roots}, size="minimal")
    assert midi.violations() == []
    assert mini.violations() == []
    assert mini.is_within(midi)
    for name in roots:
        total = len(source.keys(name))
        assert len(midi.keys(name, "sampled", "certain")) < 0.45 * total + 1
        assert midi.weighted_count(name) == pytest.approx(total, rel=0.6)


@pytest.mark.parametrize(("made", "roots"), SHAPES, ids=IDS)
def test_children_have_the_probability_of_their_root(
    engine: sa.Engine, made: Made, roots: list[str]
) -> None:
    midi = made(engine).sample(
        roots={name: {"rate": 0.2} for name in roots}, hubs="off", small_table_rows=0
    )
    for rows in midi.tables.values():
        assert {row.probability for row in rows if row.role == "sampled"} <= {0.2}
        assert all(row.probability is None for row in rows if row.role in ("witness", "reference"))
        assert all(row.unit is not None for row in rows if row.probability not in (None, 1.0))


def test_a_row_belongs_to_one_root_and_only_refers_to_the_other(engine: sa.Engine) -> None:
    midi = diamond(engine).sample(
        roots={"customers": {"rate": 0.1}, "stores": {"rate": 0.1}}, small_table_rows=0, cover=False
    )
    chosen = midi.keys("customers", "sampled")
    orders = [row for row in midi.tables["orders"] if row.role == "sampled"]
    assert {(row.values["customer"],) for row in orders} == chosen
    pulled = midi.keys("stores", "reference")
    assert pulled
    assert {row.probability for row in midi.tables["stores"] if row.key in pulled} == {None}


def test_references_that_do_not_hold_in_the_source_are_kept_as_they_are(engine: sa.Engine) -> None:
    source = without_keys(engine)
    midi = source.sample(roots={"users": {"rate": 0.3}}, cover=False)
    dangling = [row for row in midi.tables["clicks"] if row.values["who"] > 100]
    in_source = query(engine, "SELECT count(*) FROM raw.clicks WHERE who > 100")[0][0]
    assert 0 < len(dangling) < in_source
    assert {row.role for row in dangling} == {"sampled"}


def test_children_far_from_the_root_that_dangle_are_sampled_as_often(engine: sa.Engine) -> None:
    midi = composite_chain(engine).sample(roots={"a": {"rate": 0.3}}, cover=False)
    dangling = [row for row in midi.tables["c"] if row.values["other"] < 0]
    assert len(dangling) == sum(row.role == "sampled" for row in dangling)
    assert sum(1 / (row.probability or 1) for row in dangling) == pytest.approx(300, rel=0.5)


def test_equal_rows_share_their_fate(engine: sa.Engine) -> None:
    midi = without_keys(engine).sample(roots={"users": {"rate": 0.3}}, cover=False)
    sampled = [row for row in midi.tables["clicks"] if row.role == "sampled"]
    for who, good in {row.key for row in sampled}:
        there = sum(row.key == (who, good) for row in sampled)
        text = f"SELECT count(*) FROM raw.clicks WHERE who = {who} AND good = {good}"
        assert query(engine, text) == [(there,)]


def test_small_tables_that_no_root_reaches_come_whole(engine: sa.Engine) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS id FROM generate_series(1, 100) g",
            "CREATE TABLE apart AS SELECT g AS id FROM generate_series(1, 70) g",
        ],
        a={"primary_key": "id"},
        apart={"primary_key": "id"},
    )
    midi = source.sample(roots={"a": {"rate": 0.1}}, small_table_rows=70)
    assert midi.keys("apart", "certain") == source.keys("apart")


def test_small_tables_that_are_referenced_come_whole_and_large_ones_in_part(
    engine: sa.Engine,
) -> None:
    source = diamond(engine)
    roots = {"customers": {"rate": 0.02}}
    whole = source.sample(roots=roots, small_table_rows=50, cover=False)
    part = source.sample(roots=roots, small_table_rows=49, cover=False)
    assert whole.keys("cities", "certain") == source.keys("cities")
    assert 0 < len(part.keys("cities", "reference")) < 50
