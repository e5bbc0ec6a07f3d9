"""Large tables of files, SQLite and DuckDB, and of the instance's own database, come in ranges.

What was loaded before a failure is kept where the source has not changed, and else not used.
"""

import csv as python_csv
import io
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline import database_tables, file_tables, instance_resources
from data_pipeline.errors import DatabaseError, UnsupportedDataError
from data_pipeline.results.ranges.batch_ranges import BatchRanges
from data_pipeline.sources.declared_sources import refreshing
from data_pipeline.sources.fingerprints import files_seen
from data_pipeline.sources.ranges import file_ranges
from data_pipeline.sources.ranges.csv_cuts import csv_cuts
from data_pipeline.sources.ranges.postgres_range_reads import RangesWithin
from data_pipeline.sources.source import SourceError
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.sources.shops import text
from data_pipeline_tests.sources.small_ranges import cut_small

ROWS = 6000


def numbers(name: str = "n") -> pa.Table:
    """Gives rows whose keys no integer of 32 bits holds."""
    ids = range(3_000_000_001, 3_000_000_001 + ROWS)
    names = [f'{name} "{number}",\n{number}' for number in ids]
    return pa.table({"id": ids, "name": names, "amount": [number / 4 for number in ids]})


class Kind:
    """A kind of source, in a folder or in the database of the instance."""

    def __init__(self, folder: Path, configured: sa.Engine) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self.catalog = folder / "raw.source.json"
        self.configured = configured

    def write(self, table: pa.Table) -> None:
        """Makes the table `orders` of these rows."""
        raise NotImplementedError

    def declare(self) -> list[dg.AssetsDefinition]:
        """Gives the assets of the source."""
        return file_tables(self.folder, catalog=self.catalog)

    def assets(self) -> list[dg.AssetsDefinition]:
        """Reads the catalog, and gives the assets."""
        with refreshing():
            return self.declare()


class Parquet(Kind):
    def write(self, table: pa.Table) -> None:
        pq.write_table(table, self.folder / "orders.parquet", row_group_size=500)


class Csv(Kind):
    def write(self, table: pa.Table) -> None:
        csv.write_csv(table, self.folder / "orders.csv")


class SeveralCsv(Kind):
    def write(self, table: pa.Table) -> None:
        (self.folder / "orders").mkdir(exist_ok=True)
        for part in range(8):
            piece = table.slice(part * ROWS // 8, ROWS // 8)
            with pa.CompressedOutputStream(self.folder / f"orders/{part}.csv.gz", "gzip") as out:
                csv.write_csv(piece, out)


class Sqlite(Kind):
    def write(self, table: pa.Table) -> None:
        with sqlite3.connect(self.folder / "shop.db") as connection:
            connection.execute("DROP TABLE IF EXISTS orders")
            made = "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, amount DECIMAL(12,2))"
            connection.execute(made)
            values = list(zip(*table.to_pydict().values(), strict=True))
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", values)
        connection.close()

    def declare(self) -> list[dg.AssetsDefinition]:
        return database_tables(f"sqlite:///{self.folder}/shop.db", catalog=self.catalog)


class Duckdb(Kind):
    def write(self, table: pa.Table) -> None:
        with duckdb.connect(self.folder / "shop.duckdb") as connection:
            connection.register("given", table)
            connection.execute("CREATE OR REPLACE TABLE orders AS SELECT * FROM given")

    def declare(self) -> list[dg.AssetsDefinition]:
        return database_tables(f"duckdb:///{self.folder}/shop.duckdb", catalog=self.catalog)


class Within(Kind):
    def write(self, table: pa.Table) -> None:
        name = table["name"][0].as_py()[0]
        execute(
            self.configured,
            "DROP TABLE IF EXISTS orders",
            "CREATE TABLE orders (id bigint PRIMARY KEY, name text, amount float8)",
            f"""INSERT INTO orders
                SELECT id, '{name} "' || id || '",' || chr(10) || id, id / 4.0
                FROM generate_series({table["id"][0]}, {table["id"][-1]}) id""",
        )

    def declare(self) -> list[dg.AssetsDefinition]:
        return database_tables(text(self.configured), catalog=self.catalog)


KINDS: list[type[Kind]] = [Parquet, Csv, SeveralCsv, Sqlite, Duckdb, Within]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest, tmp_path: Path, configured: sa.Engine) -> Kind:
    """A source with one large table."""
    made: Kind = request.param(tmp_path, configured)
    made.write(numbers())
    return made


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_small(monkeypatch.setattr)


class Loaded(list[str]):
    """The names of the ranges that are loaded, as they are."""

    limit: int | None = None
    """After how many the source fails."""

    then: Callable[[], object] | None = None
    """What happens to the source before the third of them is loaded."""

    def note(self, name: str) -> None:
        if len(self) == self.limit:
            raise DatabaseError("the source is gone")
        self.append(name)

    def noted(self, load_range: Callable[..., Any]) -> Callable[..., Any]:
        def load(rows: Any, name: str, *arguments: Any) -> Any:
            self.note(name)
            if self.then is not None and len(self) == 3:
                self.then()
            return load_range(rows, name, *arguments)

        return load


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """The names of the ranges that are loaded, as they are."""
    names = Loaded()
    for ranged in (BatchRanges, RangesWithin):
        monkeypatch.setattr(ranged, "load", names.noted(ranged.load))
    return names


def load(assets: list[dg.AssetsDefinition]) -> dg.ExecuteInProcessResult:
    return dg.materialize(assets, partition_key="full", resources=instance_resources("full"))


def found(configured: sa.Engine) -> list[tuple[Any, ...]]:
    return rows(configured, "SELECT id, name, amount::float8 FROM full_raw.orders ORDER BY id")


def expected(table: pa.Table) -> list[tuple[Any, ...]]:
    return [*zip(*table.to_pydict().values(), strict=True)]


def test_a_load_goes_on_where_it_failed(kind: Kind, loaded: Loaded) -> None:
    assets = kind.assets()
    loaded.limit = 3
    with pytest.raises(DatabaseError, match="the next run loads the rest"):
        load(assets)
    assert len(loaded) == 3
    loaded.limit = None
    load(assets)
    assert found(kind.configured) == expected(numbers())
    assert len(loaded) == len({*loaded}) > 6
    assert rows(kind.configured, "SELECT count(*) FROM full_catalog.loads") == [(0,)]


def test_a_load_begins_anew_where_the_source_has_changed(kind: Kind, loaded: Loaded) -> None:
    assets = kind.assets()
    loaded.limit = 3
    with pytest.raises(DatabaseError):
        load(assets)
    kind.write(numbers("m"))
    loaded.limit = None
    load(assets)
    assert found(kind.configured) == expected(numbers("m"))
    assert not {*loaded[:3]} & {*loaded[3:]}


@pytest.mark.parametrize("kind", [Parquet, Csv], indirect=True, ids=lambda kind: kind.__name__)
def test_a_file_that_changes_while_it_is_loaded_is_refused(kind: Kind, loaded: Loaded) -> None:
    assets = kind.assets()
    loaded.then = lambda: kind.write(numbers("m"))
    with pytest.raises(SourceError, match="was changed or replaced while it was loaded"):
        load(assets)
    loaded.then = None
    load(assets)
    assert found(kind.configured) == expected(numbers("m"))


def test_one_snapshot_of_a_sqlite_file_is_loaded_while_others_write(
    tmp_path: Path, configured: sa.Engine, loaded: Loaded
) -> None:
    kind = Sqlite(tmp_path, configured)
    kind.write(numbers())
    writer = sqlite3.connect(kind.folder / "shop.db", isolation_level=None, check_same_thread=False)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE orders SET amount = amount")
    assets = kind.assets()
    loaded.then = lambda: writer.execute("DELETE FROM orders WHERE id % 2 = 0")
    load(assets)
    writer.close()
    assert len(loaded) > 3
    assert found(configured) == expected(numbers())


@pytest.mark.parametrize("kind", [Parquet, Sqlite, Within], indirect=True)
def test_a_run_goes_on_after_one_that_was_killed(kind: Kind, loaded: Loaded) -> None:
    assets = kind.assets()
    killed = [sys.executable, "-m", __name__, type(kind).__name__, str(kind.folder.parent)]
    home = {**os.environ, "DAGSTER_HOME": str(kind.folder.parent)}  # it does not clean up
    done = subprocess.run(killed, capture_output=True, text=True, env=home)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [(before,)] = rows(kind.configured, "SELECT count(rows) FROM full_catalog.loads")
    assert before >= 1
    load(assets)
    assert found(kind.configured) == expected(numbers())
    [(writers,)] = rows(
        kind.configured,
        "SELECT jsonb_array_length(relation -> 'writer') FROM full_catalog.tables "
        "WHERE name = 'orders'",
    )
    assert before + len(loaded) <= writers <= before + len(loaded) + 1


def test_values_of_csv_files_may_have_several_lines(
    tmp_path: Path, configured: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_ranges, "_RANGE_BYTES", 2**30)
    kind = Csv(tmp_path, configured)
    many = numbers("x" * 300)
    kind.write(many)
    load(kind.assets())
    assert found(configured) == expected(many)


VALUES = st.text(alphabet='a",\n\r é', max_size=6)


@given(values=st.lists(st.tuples(VALUES, VALUES), max_size=30), size=st.integers(1, 40))
def test_csv_files_are_cut_behind_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str]], size: int
) -> None:
    file = tmp_path_factory.mktemp("cuts") / "a.csv"
    with file.open("w", newline="", encoding="utf-8") as opened:
        python_csv.writer(opened, quoting=python_csv.QUOTE_ALL).writerows(values)
    content, cuts = file.read_bytes(), csv_cuts(file, size)
    pieces = [content[begin:end].decode() for begin, end in itertools.pairwise(cuts)]
    found = [row for piece in pieces for row in python_csv.reader(io.StringIO(piece, newline=""))]
    assert found == [[*row] for row in values]
    assert "".join(pieces) == content.decode()


def test_a_csv_file_with_a_quote_in_a_value_is_one_piece(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('a,b\n5" pipe,x\n7,"y\nz"\n' * 100)
    assert csv_cuts(file, 20) == [0, file.stat().st_size]


if __name__ == "__main__":  # a run that is killed when it loads a sixth range
    cut_small()
    begun: list[str] = []

    def until_killed(load_range: Callable[..., Any]) -> Callable[..., Any]:
        def load_(self: Any, name: str, *arguments: Any) -> Any:
            begun.append(name)
            if len(begun) > 5:  # at most four are loaded at once, so one has come to its end
                os.kill(os.getpid(), signal.SIGKILL)
            return load_range(self, name, *arguments)

        return load_

    for ranged in (BatchRanges, RangesWithin):
        ranged.load = until_killed(ranged.load)  # type: ignore[method-assign]
    [of] = [item for item in KINDS if item.__name__ == sys.argv[1]]
    made = of.__new__(of)
    made.folder = Path(sys.argv[2]) / "data"
    made.catalog = Path(sys.argv[2]) / "raw.source.json"
    made.configured = sa.create_engine(os.environ["DATA_PIPELINE_DATABASE_URL"])
    load(made.declare())


@pytest.mark.parametrize(("grows", "error"), [(True, SourceError), (False, UnsupportedDataError)])
def test_what_cannot_be_read_of_a_file_that_is_being_written_has_changed(
    tmp_path: Path, grows: bool, error: type[Exception]
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("1")
    seen = files_seen([file], tmp_path)

    def read() -> Iterator[pa.RecordBatch]:
        if grows:
            file.write_text("1,2")
        raise UnsupportedDataError("its types are other ones")
        yield

    with pytest.raises(error):
        file_ranges._open(file, tmp_path, seen, pa.schema([]), read).read_all()
