"""PostgreSQL and a frame give the same estimates, and so does the documented query for psql."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import estimates
from data_pipeline.estimates import Estimate, count, estimate_query, mean, ratio, total

RESULTS = ["value", "standard_error", "low", "high", "units", "rows"]
COLUMNS = {
    "unit": sa.BigInteger,
    "carrier": sa.Text,
    "delay": sa.Double,
    "seats": sa.Integer,
    "price": sa.Numeric,
    "late": sa.Boolean,
    "probability": sa.Double,
    "design": sa.Text,
    "sample_size": sa.BigInteger,
}


def weighted_rows() -> pd.DataFrame:
    random = np.random.default_rng(3)
    unit = random.integers(0, 200, 800)
    rows = pd.DataFrame({"unit": unit, "carrier": random.choice(["AA", "UA", None], 800)})
    rows["delay"] = np.where(random.random(800) < 0.1, np.nan, random.normal(5, 20, 800))
    rows["seats"] = pd.array(random.integers(0, 300, 800), dtype="Int64")
    rows.loc[::7, "seats"] = pd.NA
    rows["price"] = [Decimal(f"{cents}.25") for cents in random.integers(0, 300, 800)]
    rows["late"] = rows["delay"] > 15
    rows["probability"] = np.select([unit < 10, unit < 100], [1.0, 0.2], 0.05)
    rows.loc[unit % 9 == 4, "probability"] = np.nan
    rows["design"] = np.where(unit < 100, "srs", "poisson")
    rows["sample_size"] = 120
    return rows


@pytest.fixture
def connection(database_url: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def load(connection: sa.Connection, frame: pd.DataFrame) -> sa.Table:
    columns = [sa.Column(name, COLUMNS[name]) for name in frame.columns]
    table = sa.Table("flights_weighted", sa.MetaData(), *columns)
    table.create(connection)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    if rows:
        connection.execute(table.insert(), rows)
    return table


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, Estimate):
        one, other = pd.DataFrame([one]), pd.DataFrame([other])
    pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-9, atol=0)


@pytest.mark.parametrize("by", [{}, {"by": ["carrier"]}, {"by": ["late", "carrier"]}], ids=str)
@pytest.mark.parametrize(
    "design",
    [{}, {"design": "poisson"}, {"design": "srs"}, {"design": "srs", "sample_size": 300}],
    ids=str,
)
def test_both_agree(connection: sa.Connection, by: Any, design: Any) -> None:
    frame = weighted_rows()
    table = load(connection, frame)
    options = {**by, **design}
    in_database = {"connection": connection, **options}
    assert_same(count(table, **in_database), count(frame, **options))
    assert_same(total(table, "seats", **in_database), total(frame, "seats", **options))
    for column in ("delay", "seats", "price", "late"):
        assert_same(mean(table, column, **in_database), mean(frame, column, **options))
    assert_same(
        ratio(table, "delay", "seats", **in_database), ratio(frame, "delay", "seats", **options)
    )


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("design", ["poisson", "srs"])
@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_both_agree_on_next_to_no_rows(
    connection: sa.Connection, rows: int, design: Any, probability: float
) -> None:
    frame = weighted_rows().drop(columns=["design", "sample_size"])[11 : 11 + rows]
    frame["probability"] = probability
    table = load(connection, frame)
    for by in ({}, {"by": ["carrier"]}):
        for measure in (total, mean):
            one = measure(table, "delay", connection=connection, design=design, **by)
            assert_same(one, measure(frame, "delay", design=design, **by))


def test_measures_may_be_expressions(connection: sa.Connection) -> None:
    frame = weighted_rows()
    table = load(connection, frame)
    assert_same(
        mean(table, table.c.seats * 2 > 100, connection=connection),
        mean(frame, (frame["seats"] * 2 > 100).where(frame["seats"].notna())),
    )
    query = sa.select(table, (table.c.delay / 60).label("hours"))
    assert_same(total(query, "hours", connection=connection), total(frame, frame["delay"] / 60))


def test_nan_in_the_database_is_missing_as_in_a_frame(connection: sa.Connection) -> None:
    frame = weighted_rows()
    table = load(connection, frame)
    expected = mean(table, "delay", connection=connection)
    connection.execute(table.update().where(table.c.delay.is_(None)).values(delay=float("nan")))
    assert mean(table, "delay", connection=connection) == expected


def test_a_result_may_stay_in_the_database(connection: sa.Connection) -> None:
    frame = weighted_rows()
    query = estimate_query(load(connection, frame), "delay", 1, by=["carrier"])
    connection.execute(sa.text("CREATE TABLE delays AS " + compiled(query, connection)))
    stored = pd.read_sql("SELECT * FROM delays ORDER BY carrier", connection)
    expected = mean(frame, "delay", by=["carrier"])
    for column in ("carrier", "value", "standard_error", "units", "rows"):
        pd.testing.assert_series_equal(stored[column], expected[column], check_dtype=False)


def compiled(query: sa.Select[Any], connection: sa.Connection) -> str:
    return str(query.compile(connection, compile_kwargs={"literal_binds": True}))


def test_the_documented_query_gives_the_same(connection: sa.Connection) -> None:
    frame = weighted_rows()
    load(connection, frame)
    (documented,) = re.findall(r"```sql\n(.*?)```", str(estimates.__doc__), re.DOTALL)
    rows = pd.read_sql(documented, connection)
    expected = mean(frame, "delay", by=["carrier"], design="poisson")
    np.testing.assert_allclose(rows["mean"], expected["value"], rtol=1e-9)
    np.testing.assert_allclose(rows["standard_error"], expected["standard_error"], rtol=1e-9)
