"""What becomes of tables is chosen: whose children they are, and which of them come whole."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.assembly import check_samples
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.sampling.schemas import Schema, schema, to
from data_pipeline_tests.sampling.shop import Shop, configured

ROOTS = {"customers": {"rate": 0.2}}


@pytest.fixture
def music(engine: sa.Engine) -> Schema:
    """Customers buy tracks, which are on playlists too: no root reaches those."""
    return schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 100) g",
            "CREATE TABLE tracks AS SELECT g AS id FROM generate_series(1, 400) g",
            "CREATE TABLE sales AS SELECT g AS id, 1 + g % 100 AS customer, 1 + g % 390 AS track "
            "FROM generate_series(1, 500) g",
            "CREATE TABLE lists AS SELECT g AS id FROM generate_series(1, 5) g",
            "CREATE TABLE listed AS SELECT l AS list, t AS track "
            "FROM generate_series(1, 5) l, generate_series(1, 60) t",
        ],
        customers={"primary_key": "id"},
        tracks={"primary_key": "id"},
        sales={
            "primary_key": "id",
            "foreign_keys": [to("customer", "customers", "id"), to("track", "tracks", "id")],
        },
        lists={"primary_key": "id"},
        listed={
            "primary_key": ["list", "track"],
            "foreign_keys": [to("list", "lists", "id"), to("track", "tracks", "id")],
        },
    )


def test_a_large_table_that_no_root_reaches_does_not_come_whole_unasked(music: Schema) -> None:
    with pytest.raises(ConfigurationError) as caught:
        music.sample(roots=ROOTS, small_table_rows=100)
    assert str(caught.value).splitlines() == [
        "sample: no root reaches `listed` of stage `inputs`, which have more than 100 rows "
        "(small_table_rows) and would come whole, with all that they refer to. Choose for each:",
        "  roots: {listed: {rate: 0.05}}  # drawn by itself (or make one of `lists`, `tracks` a "
        "root, with which it is drawn)",
        "  whole: [listed]  # all rows",
        "  small_table_rows: ...  # a number that is not below that of its rows",
    ]


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({"whole": ["listed"]}, 300),
        ({"whole": ["inputs/listed"], "size": "minimal", "roots": {"customers": {}}}, 300),
        ({"small_table_rows": 300}, 300),
        ({"roots": {**ROOTS, "tracks": {"rate": 0.5}}}, 150),
    ],
)
def test_each_of_the_choices_is_one(music: Schema, choice: dict[str, Any], rows: int) -> None:
    sample = music.sample(**{"roots": ROOTS, "small_table_rows": 100, "cover": "off", **choice})
    assert len(sample.tables["listed"]) == pytest.approx(rows, rel=0.3)
    assert sample.violations() == []


def test_what_only_whole_tables_refer_to_comes_as_far_as_they_do(music: Schema) -> None:
    roots = {"lists": {"rate": 0.2}}
    sample = music.sample(roots=roots, whole=["sales"], small_table_rows=10, cover="off")
    assert len(sample.keys("tracks", "reference")) >= 390
    assert len(sample.keys("customers")) == 100


def test_a_table_that_a_root_reaches_may_come_whole(music: Schema) -> None:
    sample = music.sample(roots=ROOTS, whole=["sales", "listed"], cover="off")
    assert sample.keys("sales", "certain") == music.keys("sales")
    assert sample.keys("customers") == music.keys("customers")


@pytest.fixture
def returns(engine: sa.Engine) -> Schema:
    """Returns name the customer, by the shortest way to a root, and the sale, which goes round."""
    return schema(
        engine,
        [
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 200) g",
            "CREATE TABLE sales AS SELECT g AS id, 1 + (g * 7) % 200 AS buyer "
            "FROM generate_series(1, 1000) g",
            "CREATE TABLE returns AS SELECT g AS sale, 1 + g % 200 AS customer, "
            "1 + g % 199 AS other FROM generate_series(1, 1000, 3) g",
        ],
        customers={"primary_key": "id"},
        sales={"primary_key": "id", "foreign_keys": [to("buyer", "customers", "id")]},
        returns={
            "primary_key": "sale",
            "foreign_keys": [
                to("customer", "customers", "id"),
                to("other", "customers", "id"),
                to("sale", "sales", "id"),
            ],
        },
    )


@pytest.mark.parametrize("way", ["sales", "inputs/sales", "sale", ["sale"]])
def test_a_table_follows_the_one_that_is_said(returns: Schema, way: Any) -> None:
    common: dict[str, Any] = {"roots": ROOTS, "cover": "off", "hubs": "off"}
    sample = returns.sample(**common, follow={"returns": way})
    sold = sample.keys("sales", "sampled")
    drawn = {key for key in sold if key[0] % 3 == 1}
    assert sample.keys("returns", "sampled") == drawn
    shortest = returns.sample(**common)
    assert shortest.keys("returns", "sampled") != drawn
    assert sample.weighted_count("returns") == pytest.approx(334, rel=0.4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"follow": {"returns": "stores"}}, "has no relationship by stores. Name the table that"),
        ({"follow": {"returns": "customers"}}, "by several relationships. Name the columns of one"),
        ({"follow": {"customers": "sales"}}, "sample.follow: `inputs/customers` is a root"),
        ({"whole": ["customers"]}, "sample.whole: `inputs/customers` is a root"),
        ({"whole": ["returns"], "follow": {"returns": "sales"}}, "comes whole (sample.whole), and"),
        ({"whole": ["sales"], "follow": {"returns": "sales"}}, "but no root reaches `sales`"),
        ({"whole": ["inputs/sails"]}, "sample.whole: stage `inputs` has no table `sails`. Did you"),
        ({"roots": {"customers": {"rows": 201}}}, "201 rows of `inputs/customers` cannot be drawn"),
    ],
)
def test_choices_that_cannot_be(returns: Schema, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        returns.sample(**{"roots": ROOTS, **settings})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"whole": ["ordres"]}, "sample.whole: there is no input table `ordres`. Did you mean"),
        ({"follow": {"ordres": "customers"}}, "sample.follow: there is no input table `ordres`"),
        ({"whole": ["customers"]}, "attrs.sample.whole: `inputs/customers` is a root"),
        (
            {"pins": {"orders": [{"nummer": 1}]}},
            "attrs.sample.pins, inputs/orders {nummer: 1}: a pin names the columns of the primary",
        ),
    ],
)
def test_what_is_wrong_by_what_is_declared_is_found_at_load(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    config = configured(tmp_path, midi={"roots": ROOTS, **settings})
    with pytest.raises(ConfigurationError) as caught:
        check_samples(Shop().assets(), load_configuration(config))
    assert message in str(caught.value)
