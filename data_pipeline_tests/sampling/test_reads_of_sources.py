"""How often a draw reads the tables of its source, where copies are written while it chooses."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.sampling.sample_request import Request
from data_pipeline.sampling.sampled_inputs import sampled_inputs
from data_pipeline.store.table_properties import properties
from data_pipeline_tests.sampling.shop import PROPERTIES, RunFull, Shop, configured, rows, run

TABLES = frozenset({"regions", "customers", "orders"})
"""Those with a key, whose copies are written while rows are chosen."""

LARGE = ("customers", "orders")
"""Those of which PostgreSQL fetches few rows by their places, and does not read all for them."""

MIDI: dict[str, Any] = {"roots": {"customers": {"rate": 0.2}}, "small_table_rows": 2}
SAMPLES: dict[str, dict[str, Any]] = {
    "cover off": MIDI | {"cover": "off"},
    "cover auto": MIDI,
    "mask": MIDI | {"mask": {"orders": {"amount": "-amount"}}},
    "where": MIDI | {"where": {"orders": "amount > 20"}},
}
READ = sa.text(
    "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables WHERE schemaname = 'full_raw'"
)


@contextmanager
def rows_read() -> Iterator[Counter[str]]:
    """Counts the rows that scans of whole tables read in transactions of this process.

    PostgreSQL hands counts on once a second, so those at the end of a transaction hold the ones
    of quick transactions before it: what it began with is taken off, unless it was handed on.
    """
    read: Counter[str] = Counter()

    def remember(connection: sa.Connection) -> None:
        connection.info["scanned"] = scanned(connection)

    def count(connection: sa.Connection) -> None:
        before = connection.info["scanned"]
        for table, total in scanned(connection).items():
            read[table] += total - before[table] if total >= before[table] else total

    sa.event.listen(sa.Engine, "begin", remember)
    sa.event.listen(sa.Engine, "commit", count)
    try:
        yield read
    finally:
        sa.event.remove(sa.Engine, "commit", count)
        sa.event.remove(sa.Engine, "begin", remember)


def scanned(connection: sa.Connection) -> Counter[str]:
    """What PostgreSQL says of this session, of the transaction and what it did not hand on yet."""
    return Counter({row.relname: row.seq_tup_read for row in connection.execute(READ)})


@pytest.mark.parametrize("name", SAMPLES)
def test_a_draw_reads_each_table_twice_at_most_once_facts_are_known(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull, name: str
) -> None:
    shop, config = Shop(customers=6_000), configured(tmp_path, midi=SAMPLES[name])
    run_full(shop, config)
    run(shop.assets(weights=True), "midi", config)
    read = read_by_a_draw(config)
    for table in LARGE:
        assert 0 < read[table] <= 2 * len(shop.frames[table])


def read_by_a_draw(config: str) -> Counter[str]:
    """Draws midi, and gives the rows that scans of whole tables read for that."""
    request = Request(
        instance=load_configuration(config).instance("midi"),
        stage="inputs",
        raw={table: StageTable("raw", table) for table in PROPERTIES},
        declared={table: properties(**declared) for table, declared in PROPERTIES.items()},
        tables=TABLES,
        roles=TABLES,
        forced=True,
    )
    with rows_read() as read, sampled_inputs(request, logging.getLogger("draw")) as sample:
        assert sample is not None
        written = {table for table in LARGE if sample.table(table).written is not None}
    assert written == {*LARGE}
    return read


@pytest.mark.parametrize("cover", ["auto", "off"])
def test_few_children_are_found_by_an_index_unless_some_dangle(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cover: str
) -> None:
    own = PROPERTIES["orders"] | {"primary_key": ["customer", "number"]}
    monkeypatch.setitem(PROPERTIES, "orders", own)
    shop, midi = Shop(customers=6_000), {"roots": {"customers": {"rate": 0.01}}, "cover": cover}
    config = configured(tmp_path, midi={**midi, "small_table_rows": 2})
    by_places = configured(tmp_path, midi={**midi, "small_table_rows": 2, "closure_limit": 1})
    shop.frames["orders"] = orders = shop.frames["orders"].sort_values("customer")
    read = []
    for last in (0, 4_000):
        orders.loc[orders.index[len(orders) - last :], "customer"] += 10_000
        run(shop.assets(), "full", config)
        run(shop.assets(weights=True), "midi", config)
        drawn = rows(pipeline_database, "SELECT * FROM midi_sample.inputs__orders ORDER BY 1, 2")
        assert any(customer >= 10_000 for customer, *_ in drawn) is bool(last)
        read.append(read_by_a_draw(config)["orders"])
        run(shop.assets(weights=True), "midi", by_places)
        assert drawn == rows(
            pipeline_database, "SELECT * FROM midi_sample.inputs__orders ORDER BY 1, 2"
        )
    assert read[0] == 0 < read[1]
