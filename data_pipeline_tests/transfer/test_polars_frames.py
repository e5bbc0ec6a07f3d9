"""polars frames, eager and lazy, go to a table and come back."""

import datetime as dt
import math
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from data_pipeline.errors import UnsupportedDataError
from data_pipeline_tests.transfer.conftest import Transfer

FRAME = pl.DataFrame(
    {
        "i": pl.Series([1, None], dtype=pl.Int16),
        "f": pl.Series([math.nan, None]),
        "s": pl.Series(["a string of more than twelve bytes", None]),
        "d": pl.Series([Decimal("1.20"), None], dtype=pl.Decimal(9, 2)),
        "t": pl.Series([dt.datetime.max, None], dtype=pl.Datetime("us")),
        "z": pl.Series([dt.datetime(2020, 1, 1), None], dtype=pl.Datetime("us", "UTC")),
        "day": pl.Series([dt.date.min, None]),
        "time": pl.Series([dt.time.max, None]),
        "td": pl.Series([dt.timedelta(days=1), None], dtype=pl.Duration("us")),
        "by": pl.Series([b"\0", None]),
        "l": pl.Series([["a", None], None]),
    }
)


def test_a_frame_comes_back_equal(transfer: Transfer) -> None:
    assert_frame_equal(transfer.round_trip(FRAME, pl.DataFrame), FRAME)


def test_a_lazy_frame_comes_back_lazy(transfer: Transfer) -> None:
    result = transfer.round_trip(FRAME.lazy(), pl.LazyFrame)
    assert isinstance(result, pl.LazyFrame)
    assert_frame_equal(result.collect(), FRAME)


def test_dtypes_are_the_same_without_rows(transfer: Transfer) -> None:
    assert_frame_equal(transfer.round_trip(FRAME.clear(), pl.DataFrame), FRAME.clear())


def test_other_dtypes_are_stored_in_the_nearest_type(transfer: Transfer) -> None:
    transfer.write(
        pl.DataFrame(
            {
                "c": pl.Series(["a"], dtype=pl.Categorical),
                "e": pl.Series(["a"], dtype=pl.Enum(["a"])),
                "s": pl.Series([{"a": 1}]),
                "n": pl.Series([None]),
                "u": pl.Series([2**63 - 1], dtype=pl.UInt64),
            }
        )
    )
    assert list(transfer.types().values()) == ["text", "text", "jsonb", "text", "bigint"]


def test_rows_without_columns_keep_their_number(transfer: Transfer) -> None:
    assert transfer.round_trip(pl.DataFrame(height=3), pl.DataFrame).shape == (3, 0)


def test_uuid_and_json_come_as_strings(transfer: Transfer) -> None:
    transfer.execute("CREATE TABLE t (u uuid, j jsonb, us uuid[])")
    text = "12345678-1234-5678-1234-567812345678"
    transfer.execute(
        f"INSERT INTO t VALUES ('{text}', '{{}}', '{{{text},NULL}}'), (NULL, NULL, NULL)"
    )
    frame = transfer.read(pl.DataFrame)
    assert frame.rows() == [(text, "{}", [text, None]), (None, None, None)]


def test_a_dtype_without_an_arrow_form_is_named(transfer: Transfer) -> None:
    with pytest.raises(UnsupportedDataError, match=r"Column `big`.*Int128"):
        transfer.write(pl.DataFrame({"big": pl.Series([1], dtype=pl.Int128)}))


def test_python_objects_are_refused(transfer: Transfer) -> None:
    frame = pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(UnsupportedDataError, match=r"Column `o`: .*Object.* holds Python objects"):
        transfer.write(frame)


def test_decimals_beyond_polars_are_named(transfer: Transfer) -> None:
    transfer.write(pa.table({"big": pa.array([Decimal(1)], pa.decimal256(60, 2))}))
    with pytest.raises(UnsupportedDataError, match=r"Column `big`.*60 digits"):
        transfer.read(pl.DataFrame)
