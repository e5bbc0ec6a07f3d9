"""Sampling by key hash keeps the rate, and the same rows in PostgreSQL and in memory."""

import math

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.key_hash import (
    hash_threshold,
    permanent_random,
    sampled_mask,
    sampled_sql,
)

RATES = st.floats(0, 1, allow_subnormal=True)
ROWS = 100_000
NUMBERS = pa.array(range(ROWS))
TEXTS = NUMBERS.cast(pa.string())
KEYS = {"integers": [NUMBERS], "text": [TEXTS], "composite": [TEXTS, NUMBERS]}


@pytest.mark.parametrize("rate", [0, 1e-300, 0.01, 0.3, 0.999, 1])
def test_postgresql_and_memory_choose_the_same_rows(server_url: sa.URL, rate: float) -> None:
    row = sa.column("row", sa.Integer)
    rows = sa.func.generate_series(0, 4999).table_valued(row, name="r").render_derived()
    spelled = sa.cast(rows.c.row, sa.Text)
    query = sa.select(rows.c.row).where(sampled_sql([rows.c.row, spelled], rate, salt=-5))
    engine = sa.create_engine(server_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        chosen = connection.execute(query.order_by(rows.c.row)).scalars().all()
    mask = sampled_mask([NUMBERS[:5000], TEXTS[:5000]], rate, salt=-5)
    assert np.flatnonzero(mask).tolist() == chosen


@given(RATES, RATES)
def test_a_larger_rate_keeps_every_row_of_a_smaller_one(one: float, other: float) -> None:
    low, high = sorted([one, other])
    below, above = hash_threshold(low), hash_threshold(high)
    if above is None:
        return
    assert below is not None
    assert -(2**63) <= below <= above < 2**63


def test_thresholds_are_exact() -> None:
    assert hash_threshold(0) == -(2**63)
    assert hash_threshold(0.5) == 0
    assert hash_threshold(2**-32) == -(2**63) + 2**32
    assert hash_threshold(math.nextafter(1, 0)) == 2**63 - 2**32
    assert hash_threshold(1) is None


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
@pytest.mark.parametrize("name", KEYS)
def test_the_rate_is_kept_within_chance(name: str, rate: float) -> None:
    expected, deviation = ROWS * rate, math.sqrt(ROWS * rate * (1 - rate))
    for salt in range(5):
        assert abs(sampled_mask(KEYS[name], rate, salt).sum() - expected) < 4 * deviation


@pytest.mark.parametrize("name", KEYS)
def test_every_part_of_the_range_is_equally_likely(name: str) -> None:
    """Chi-square over 256 equal ranges: mean 255, deviation sqrt(2 * 255) for each salt."""
    salts = range(20)
    chi_squares = []
    for salt in salts:
        numbers = permanent_random(KEYS[name], salt).view(np.uint64) >> np.uint64(56)
        counts = np.bincount(numbers.astype(int), minlength=256)
        chi_squares.append((((counts - ROWS / 256) ** 2) / (ROWS / 256)).sum())
    assert abs(np.mean(chi_squares) - 255) < 4 * math.sqrt(2 * 255 / len(salts))


def test_samples_with_different_salts_are_independent() -> None:
    both = sampled_mask([NUMBERS], 0.1, salt=1) & sampled_mask([NUMBERS], 0.1, salt=2)
    assert abs(both.sum() - 1000) < 4 * math.sqrt(1000)


@pytest.mark.parametrize("rate", [-0.1, 1.0001, 5, math.nan, math.inf])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match=f"A sampling rate of {rate} is impossible"):
        sampled_mask([NUMBERS], rate, salt=0)
