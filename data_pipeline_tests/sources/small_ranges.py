"""Ranges that are as small as tests need them."""

from collections.abc import Callable
from typing import Any

from data_pipeline.sources import sqlite
from data_pipeline.sources.ranges import file_ranges, postgres_page_ranges, rowid_ranges


def cut_small(set_value: Callable[[Any, str, Any], None] = setattr) -> None:
    """Lets tables of a few thousand rows come in ranges."""
    set_value(postgres_page_ranges, "_RANGE_BYTES", 4 * 8192)
    set_value(file_ranges, "_RANGE_BYTES", 16 * 1024)
    set_value(rowid_ranges, "_RANGE_ROWS", 500)
    set_value(sqlite, "_LARGE_BYTES", 1)
