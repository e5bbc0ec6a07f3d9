"""Where samples of frames are chosen: in a scratch schema that nobody else sees or inherits."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.embedded import EmbeddedServer
from data_pipeline.errors import ConfigurationError, DatabaseError, DataPipelineError
from data_pipeline.sampling.scratch_schema import PREFIX, TEST_URL, scratch_schema
from data_pipeline_tests.sampling.in_memory.samples import sample_of

NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/nowhere"
FRAME = pd.DataFrame({"k": range(60)})
HOLDER = """
import sys
from pathlib import Path
from data_pipeline.sampling.scratch_schema import scratch_schema
with scratch_schema(Path(sys.argv[1])) as (server, schema):
    with server.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {schema}.t AS SELECT 1 AS k")
    print(schema, flush=True)
    sys.stdin.read()
"""


def scratch_schemas(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        query = sa.text("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, :prefix)")
        return set(connection.scalars(query, {"prefix": PREFIX}))


@contextmanager
def other_process(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Lets another process hold a scratch schema; gives the process and the schema."""
    command = [sys.executable, "-c", HOLDER, str(home)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def await_lock(engine: sa.Engine, schema: str) -> None:
    """Waits until nobody holds a scratch schema."""
    lock = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
    with engine.connect() as connection:
        connection.execute(lock, {"name": f"data_pipeline:scratch:{schema}"})


def test_the_schema_is_gone_when_the_sample_is_chosen(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    sample_of(FRAME, tmp_path, primary_key="k")
    assert scratch_schemas(pipeline_database) == set()


@pytest.mark.parametrize(
    "specification",
    [
        {"cover": {"predicates": {"t": {"bad": "nothing > 0"}}}},  # while it is chosen
        {"pins": {"t": [{"k": 1000}]}},
    ],
)
def test_the_schema_is_gone_when_it_cannot_be_chosen(
    pipeline_database: sa.Engine, tmp_path: Path, specification: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError):
        sample_of(FRAME, tmp_path, primary_key="k", specification=specification)
    assert scratch_schemas(pipeline_database) == set()


def test_the_schema_is_gone_when_a_frame_cannot_be_loaded(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    with pytest.raises(DataPipelineError, match="duplicated"):
        sample_of(pd.DataFrame({"k": [1, 1]}), tmp_path, primary_key="k")
    assert scratch_schemas(pipeline_database) == set()


def test_what_a_killed_process_leaves_is_dropped_by_the_next_one(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    with other_process(tmp_path) as (process, schema):
        assert scratch_schemas(pipeline_database) == {schema}
        process.send_signal(signal.SIGKILL)
    assert scratch_schemas(pipeline_database) == {schema}
    await_lock(pipeline_database, schema)
    with scratch_schema(tmp_path) as (_, own):
        assert scratch_schemas(pipeline_database) == {own}
    assert scratch_schemas(pipeline_database) == set()


def test_processes_leave_each_other_alone(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    with other_process(tmp_path) as (process, schema):
        sample_of(FRAME, tmp_path, primary_key="k")
        with scratch_schema(tmp_path) as (_, own):
            assert scratch_schemas(pipeline_database) == {schema, own}
        assert scratch_schemas(pipeline_database) == {schema}
        assert process.communicate("")[0] == ""
        assert process.returncode == 0
    assert scratch_schemas(pipeline_database) == set()


def test_many_at_once_find_the_same_rows(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    with other_process(tmp_path) as (process, schema):
        process.send_signal(signal.SIGKILL)  # leftovers, too
    places = [tmp_path / str(number) for number in range(4)]
    for place in places:
        place.mkdir()
    with ThreadPoolExecutor(len(places)) as pool:
        found = list(pool.map(lambda place: sample_of(FRAME, place, primary_key="k"), places))
    assert len({tuple(sample["rows"]["k"]) for sample in found}) == 1
    await_lock(pipeline_database, schema)
    sample_of(FRAME, tmp_path, primary_key="k")
    assert scratch_schemas(pipeline_database) == set()


def test_schemas_of_other_roles_are_none_of_our_business(
    superuser: sa.Engine, owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with superuser.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {PREFIX}{'0' * 16}")
    monkeypatch.setenv(TEST_URL, os.environ["DATA_PIPELINE_DATABASE_URL"])
    sample_of(FRAME, tmp_path, primary_key="k")
    assert scratch_schemas(superuser) == {f"{PREFIX}{'0' * 16}"}


def test_schemas_of_an_instance_are_no_leftovers(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    names = {f"{PREFIX}orders", f"{PREFIX}{'0' * 16}__staging"}
    with pipeline_database.begin() as connection:
        for name in names:
            connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    sample_of(FRAME, tmp_path, primary_key="k")
    assert scratch_schemas(pipeline_database) == names


def test_the_server_of_the_configuration_is_not_asked(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", NOWHERE)
    assert len(sample_of(FRAME, tmp_path, primary_key="k")["rows"])


def test_the_embedded_server_starts_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TEST_URL, raising=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", NOWHERE)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    server = EmbeddedServer(tmp_path / "home")
    try:
        assert len(sample_of(FRAME, tmp_path, primary_key="k")["rows"])
        assert server.status == "running"
    finally:
        server.stop()


def test_without_a_server_one_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TEST_URL, raising=False)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATA_PIPELINE_PG_BINDIR", str(tmp_path))
    with pytest.raises(DatabaseError) as caught:
        sample_of(FRAME, tmp_path, primary_key="k")
    message = str(caught.value)
    assert message.startswith("A sample of data frames is chosen by a PostgreSQL server")
    assert "DATA_PIPELINE_PG_BINDIR" in message
    assert f"Or set {TEST_URL} to the URL of a PostgreSQL" in message


def test_a_server_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TEST_URL, NOWHERE)
    with pytest.raises(DatabaseError) as caught:
        sample_of(FRAME, tmp_path, primary_key="k")
    message = str(caught.value)
    assert (
        f"{TEST_URL} names cannot be used: Cannot connect to PostgreSQL at 127.0.0.1:1" in message
    )
    assert f"Correct {TEST_URL}, or unset it" in message
    assert "instances.yaml" not in message
    assert "secret" not in message


def test_a_url_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TEST_URL, "localhost:5432")
    with pytest.raises(ConfigurationError, match=f"{TEST_URL}: it must be 'embedded' or begin"):
        sample_of(FRAME, tmp_path, primary_key="k")
