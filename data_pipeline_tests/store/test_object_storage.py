"""Blobs in object storage: `blob_store.base_path` is a URL."""

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.assembly import instance_definitions
from data_pipeline.cli import main
from data_pipeline.errors import BlobStoreError, ConfigurationError, IsolationError
from data_pipeline.instances import load_configuration
from data_pipeline.store.blobs import blob_files
from data_pipeline_tests.io_manager.runs import (
    execute,
    from_inputs,
    refusal,
    rows,
    run,
    table_asset,
)
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.world import Run, new_storage
from data_pipeline_tests.store.object_storage import (
    Storage,
    forget_clients,
    object_storage,
    refusing,
)

CONFIGURATION = """
blob_store_connections: {there: {base_path: "%s"}}
instances:
  __any__: {blob_store: {blob_store_connection: there}}
  full: {instance_id: full}
  mini: {instance_id: mini, attrs: {copy_filtered_input: true, copy_source: full}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Storage]:
    with object_storage() as server:
        yield server


@pytest.fixture
def bucket(
    server: Storage, pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Storage:
    server.clear()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    configured(tmp_path, monkeypatch, "s3://blobs/of/team/")
    return server


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, base_path: str) -> None:
    file = folder / "instances.yaml"
    file.write_text(CONFIGURATION % base_path)
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))


def blob(state: list[int]) -> list[dg.AssetsDefinition]:
    """Gives `s/model`, of which a test changes what it is, and `s/used` that reads it."""
    model = table_asset("model", lambda: {"n": state[0]}, code_version=str(state[0]))
    used = from_inputs("used", lambda model: {"twice": model["n"] * 2}, "model")
    return [model, used]


def memoised_run(state: list[int]) -> Run:
    jobs.DEFINED.append(lambda: instance_definitions(blob(state)))
    return Run(new_storage(), "defined", "full", run_config={"loggers": {"progress": {}}})


def test_a_blob_is_an_object_that_its_readers_get(bucket: Storage) -> None:
    result = run(*blob([7]))
    assert result.output_for_node("s__used") == {"twice": 14}
    assert [name.split(".")[0] for name in bucket.names] == [
        "of/team/full/s/model",
        "of/team/full/s/used",
    ]


def test_what_is_replaced_goes_with_the_slot_that_kept_it(bucket: Storage) -> None:
    for state in (1, 2, 3):
        assert memoised_run([state]).success
    assert len(bucket.names) == 4
    found = CliRunner().invoke(main, ["gc"])
    assert found.exit_code == 0, found.output
    assert len(bucket.names) == 2


def test_an_object_that_is_missing_is_made_again(bucket: Storage) -> None:
    assert memoised_run([1]).success
    assert memoised_run([1]).steps == set()
    bucket.clear()
    again = memoised_run([1])
    assert again.steps == {"s__model", "s__used"}
    assert len(bucket.names) == 2


def test_another_content_is_never_loaded_and_made_again(bucket: Storage) -> None:
    assert memoised_run([1]).success
    [name] = [name for name in bucket.names if "model" in name]
    bucket.write(name, b"x" * bucket.size(name))
    assert "other content than was committed" in str(refusal(*blob([1]), selection="used"))
    assert memoised_run([1]).success
    bucket.write(name, b"of another size")
    assert "s__model" in memoised_run([1]).steps


def test_leftovers_of_dead_runs_are_removed(bucket: Storage) -> None:
    assert memoised_run([1]).success
    bucket.write(f"of/team/full/s/model.{'0' * 32}.pickle", b"left")
    bucket.write("of/team/full/s/notes.txt", b"of somebody else")
    assert memoised_run([2]).success
    assert not [name for name in bucket.names if "0" * 32 in name]
    assert "of/team/full/s/notes.txt" in bucket.names


def test_dropping_an_instance_removes_its_objects(bucket: Storage) -> None:
    assert memoised_run([1]).success
    bucket.write("of/team/mini/s/model.of_another", b"of another instance")
    found = CliRunner().invoke(main, ["drop", "full", "--yes"])
    assert found.exit_code == 0, found.output
    assert bucket.names == ["of/team/mini/s/model.of_another"]


def test_a_store_that_cannot_be_reached_is_said_and_nothing_is_lost(
    bucket: Storage,
    pipeline_database: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert memoised_run([1]).success
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    forget_clients()
    failed = memoised_run([2])
    [line] = [line for line in capfd.readouterr().out.splitlines() if line.startswith("✗")]
    assert "✗ full  data_pipeline.errors.BlobStoreError: Blobs of instance `full` lie in" in line
    assert "of instance `full` lie in s3://blobs/of/team (blob_store.base_path)" in failed.failure
    assert "Check network and proxy of this machine" in failed.failure
    assert "AWS_ENDPOINT_URL" in failed.failure
    assert not failed.steps
    planned = CliRunner().invoke(main, ["plan", "full"])
    assert planned.exit_code == 1
    assert "Check network and proxy of this machine" in planned.output
    assert "was dropped" not in planned.output  # nobody knows
    assert rows(pipeline_database, "SELECT count(*) FROM full_catalog.tables") == [(2,)]
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.environment["AWS_ENDPOINT_URL"])
    forget_clients()
    assert memoised_run([1]).steps == set()


def test_a_bucket_that_is_not_there_is_said(
    bucket: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, monkeypatch, "s3://no-such-bucket/blobs")
    error = refusal(*blob([1]), selection="model")
    assert isinstance(error, BlobStoreError)
    assert "no-such-bucket/blobs/full/s/model." in str(error)
    assert "Create the bucket or container, or correct base_path." in str(error)


def test_missing_credentials_are_said(bucket: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    forget_clients()
    error = refusal(*blob([1]), selection="model")
    assert isinstance(error, BlobStoreError)
    assert "and whether they have expired: AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY" in str(
        error
    )
    forget_clients()


@pytest.mark.parametrize("has_body", [True, False])
def test_expired_credentials_are_said(
    bucket: Storage, monkeypatch: pytest.MonkeyPatch, has_body: bool
) -> None:
    with refusing("ExpiredToken" if has_body else None) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        forget_clients()
        error = refusal(*blob([1]), selection="model")
    assert isinstance(error, BlobStoreError)
    assert "Check the credentials, and whether they have expired: AWS_ACCESS_KEY_ID" in str(error)
    assert "Create the bucket" not in str(error)
    forget_clients()


def test_a_closed_port_of_another_protocol_is_said_without_its_password(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, monkeypatch, "ftp://me:secret@127.0.0.1:9/blobs")
    error = refusal(*blob([1]), selection="model")
    assert isinstance(error, BlobStoreError)
    assert "lie in ftp://127.0.0.1:9/blobs (blob_store.base_path)" in str(error)
    assert "secret" not in str(error)
    assert "the address: its host" in str(error)


@pytest.mark.parametrize(
    ("base_path", "remedy"),
    [
        ("s3://b", "data-pipeline[s3]"),
        ("abfs://b", "data-pipeline[az]"),
        ("gs://b", "data-pipeline[gs]"),
        ("sftp://h/b", "what it names"),
    ],
)
def test_a_missing_package_is_named(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base_path: str,
    remedy: str,
) -> None:
    for name in ("s3fs", "adlfs", "gcsfs", "paramiko"):
        monkeypatch.setitem(sys.modules, name, None)
    known = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(known, base_path.partition(":")[0], raising=False)
    configured(tmp_path, monkeypatch, base_path)
    error = refusal(*blob([1]), selection="model")
    assert isinstance(error, ConfigurationError)
    assert "cannot be reached with the packages that are installed" in str(error)
    assert f"Install {remedy}." in str(error)


@pytest.mark.parametrize("location", ["../mini/s/x", "s/../../mini/x", "/etc/x", "s3://other/x"])
def test_a_location_stays_in_the_instance(
    bucket: Storage, pipeline_database: sa.Engine, location: str
) -> None:
    run(*blob([1]))
    execute(pipeline_database, f"UPDATE full_catalog.tables SET location = '{location}'")
    instance = load_configuration().instance("full")
    with pytest.raises(IsolationError, match="points out of"):
        blob_files.exists(instance, blob_files.StageTable("s", "model"), location)


@pytest.mark.parametrize(
    ("base_path", "message"),
    [("s4://blobs", "knows no protocol 's4'"), ("s3://", "a bucket or container is missing")],
)
def test_a_url_that_cannot_be_used_is_refused_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base_path: str, message: str
) -> None:
    configured(tmp_path, monkeypatch, base_path)
    with pytest.raises(ConfigurationError, match=message):
        load_configuration()


def test_a_file_url_is_a_directory(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, monkeypatch, f"file://{tmp_path}/here")
    run(*blob([1]))
    assert len(list((tmp_path / "here" / "full" / "s").iterdir())) == 2
