"""`table_store.local_cache`: frames that were read are read from this machine, and never stale."""

import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline import load_configuration
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.store.lookup import find_table
from data_pipeline.store.reading import _file_key, fetch
from data_pipeline.transfer.local_cache import LocalCache
from data_pipeline_tests.io_manager.runs import _SILENT, STAGE, by_hand, execute, write

Read = Callable[..., object]
TABLE = StageTable(STAGE, "numbers")
FRAME = pd.DataFrame({"a": [1, 2, None], "b": ["x", None, "z"]}).astype({"a": "Int64"})


@pytest.fixture
def folder(pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a configuration with a local cache of up to 100 kB."""
    file = tmp_path / "instances.yaml"
    file.write_text(
        "instances: {full: {table_store: {local_cache: frames, local_cache_max_bytes: 100000}}}"
    )
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    return tmp_path / "frames"


def read(form: type = pd.DataFrame, name: str = TABLE.name) -> object:
    instance = load_configuration().instance("full")
    return fetch(instance, StageTable(STAGE, name), form, _SILENT)[0]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def spoil(file: Path) -> None:
    """Lets a file hold other rows than the database: who gets them has read the file."""
    frame = pa.ipc.open_file(file.read_bytes()).read_all()
    other = frame.set_column(0, "a", pa.array([7] * len(frame), pa.int64()))
    key = file.name.split(".")[0]
    file.unlink()
    LocalCache(file.parent, 10**6).put(key, other)


def test_a_frame_is_read_from_the_file_the_second_time(folder: Path) -> None:
    write(TABLE.name, FRAME)
    first = read()
    [file] = files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = read()
    assert isinstance(again, pd.DataFrame)
    pd.testing.assert_frame_equal(again, first)
    again.loc[0, "a"] = 5  # a frame of one's own
    spoil(file)
    assert read()["a"].tolist() == [7, 7, 7]  # type: ignore[index]
    assert isinstance(polars := read(pl.DataFrame), pl.DataFrame)
    assert polars["a"].to_list() == [7, 7, 7]
    assert read(pa.RecordBatchReader).read_all()["a"].to_pylist() == [1, 2, None]  # type: ignore[attr-defined]


def test_what_was_built_anew_or_changed_by_hand_is_read_anew(
    folder: Path, pipeline_database: sa.Engine
) -> None:
    write(TABLE.name, FRAME)
    read()
    spoil(files(folder)[0])
    by_hand(pipeline_database, "UPDATE full_s.numbers SET a = 3 WHERE a = 2")
    assert read()["a"].tolist()[:1] != [7]  # type: ignore[index]
    assert len(files(folder)) == 1
    write(TABLE.name, FRAME.assign(a=[4, 5, 6]), run_id="another_run")
    assert read()["a"].tolist() == [4, 5, 6]  # type: ignore[index]
    execute(pipeline_database, "ALTER TABLE full_s.numbers RENAME b TO c")
    assert list(read().columns) == ["a", "c"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [b"", b"ARROW1", None])
def test_a_damaged_file_is_read_anew(folder: Path, damage: bytes | None) -> None:
    write(TABLE.name, FRAME)
    read()
    [file] = files(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content) if damage is None else damage)
    assert read()["b"].tolist()[::2] == ["x", "z"]  # type: ignore[index]
    assert [item.name for item in files(folder)] == [file.name]
    assert file.read_bytes() != content


def test_what_was_used_longest_ago_goes_first(folder: Path) -> None:
    for number in range(3):
        write(f"t{number}", pd.DataFrame({"a": np.arange(5000) + number}))
    read(name="t0")
    first = files(folder)
    read(name="t1")
    read(name="t0")
    read(name="t2")
    assert len(files(folder)) == 2
    assert first[0] in files(folder)
    write("large", pd.DataFrame({"a": np.arange(20000)}))
    read(name="large")
    assert first[0] in files(folder)


def test_rows_that_a_policy_or_a_type_changes_are_not_kept(
    folder: Path, pipeline_database: sa.Engine
) -> None:
    execute(pipeline_database, "CREATE TYPE public.mood AS ENUM ('glad', 'sad')")
    write("moods", sa.text("SELECT 'glad'::public.mood AS mood"))
    read(name="moods")
    write(TABLE.name, FRAME)
    execute(pipeline_database, "ALTER TABLE full_s.numbers ENABLE ROW LEVEL SECURITY")
    read()
    assert files(folder) == []


def test_a_folder_that_others_can_write_to_is_not_used(folder: Path) -> None:
    write(TABLE.name, FRAME)
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    assert len(read()) == 3  # type: ignore[arg-type]
    assert files(folder) == []


def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, pyarrow as pa\nfrom pathlib import Path\n"
        "from data_pipeline.transfer.local_cache import LocalCache\n"
        "files = LocalCache(Path(sys.argv[1]), 60_000)\n"
        "for turn in range(60):\n"
        "    number = turn % 5\n"
        "    found = files.get(f'{number:064x}')\n"
        "    assert found is None or found['a'].to_pylist() == [number] * 2000\n"
        "    files.put(f'{number:064x}', pa.table({'a': [number] * 2000}))\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "frames")]
    processes = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert sum(file.stat().st_size for file in files(tmp_path / "frames")) <= 60_000


def test_the_database_is_a_part_of_the_key(
    folder: Path, pipeline_database: sa.Engine, database_url: sa.URL
) -> None:

    write(TABLE.name, FRAME)
    source = database(load_configuration().instance("full"))
    with source.begin() as connection:
        found = find_table(connection, load_configuration().instance("full"), TABLE, None)
    assert found.row is not None
    key = _file_key(source, found.relation, found.row)
    other = replace(found.row, relation={**found.row.relation, "database": "1/2"})
    assert key != _file_key(source, found.relation, other)
    assert key == _file_key(source, found.relation, found.row)
