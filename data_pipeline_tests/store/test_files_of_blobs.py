"""A blob's file is what was committed, or it counts as gone."""

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import TableNotFoundError
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import CatalogRow
from data_pipeline_tests.transfer import formats
from data_pipeline_tests.transfer.formats import Model

MODEL = StageTable("s", "model")
OTHER = "has other content than was committed"


@pytest.fixture(params=["pickle", "serializer"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Instance:
    """The instance `full`, which writes models as pickles or by a serialiser of the project."""
    made = load_configuration().instance("full")
    chosen = {f"{formats.__name__}.Model": f"{formats.__name__}:model_file"}
    serializers = chosen if request.param == "serializer" else {}
    changes = {"base_path": tmp_path / "blobs", "serializers": serializers}
    return replace(made, blob_store=made.blob_store.model_copy(update=changes))


def save(instance: Instance, weight: int = 3) -> tuple[CatalogRow, Path]:
    saved = blob_files.save(instance, MODEL, Model(weight))
    row = CatalogRow(
        MODEL.stage,
        MODEL.name,
        "blob",
        saved.version,
        location=saved.location,
        checksum=saved.version,
        bytes=saved.bytes,
    )
    return row, blob_files.directory(instance) / saved.location


def load(instance: Instance, row: CatalogRow) -> int:
    return blob_files.read(instance, row.table, row.location or "", row.checksum).weight


def other_content(file: Path) -> bytes:
    """Gives content of the same size, which loads just as well."""
    return file.read_bytes().replace(b"weight", b"height")


def keep_time(damage: Callable[[Path], object]) -> Callable[[Path], None]:
    """Does damage as a failing disk does, which leaves the time of the last change as it was."""

    def damage_only(file: Path) -> None:
        before = file.stat()
        damage(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    return damage_only


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def make_longer(file: Path) -> None:
    file.write_bytes(pickle.dumps(Model(777), protocol=0))


def change(file: Path) -> None:
    file.write_bytes(other_content(file))


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES = {
    "empty": (empty, OTHER),
    "empty, time kept": (keep_time(empty), OTHER),
    "cut short, time kept": (keep_time(cut_short), OTHER),
    "another size": (make_longer, OTHER),
    "the same size": (change, OTHER),
    "dropped": (Path.unlink, "was dropped"),
    "a folder": (replace_by_a_folder, "was dropped"),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_told_and_never_loaded(
    full: Instance, damage: Callable[[Path], object], told: str
) -> None:
    row, file = save(full)
    assert blob_files.flaw(full, row) is None
    assert load(full, row) == 3
    damage(file)
    assert blob_files.flaw(full, row) == told
    with pytest.raises(
        TableNotFoundError, match="Blob `s/model` of instance `full`: its file"
    ) as e:
        load(full, row)
    assert str(file) in str(e.value)
    assert full.build_command in str(e.value)
    saved, _ = save(full) if file.is_file() or not file.exists() else (row, file)
    assert saved == row


def test_what_only_loading_finds_is_told_from_then_on(full: Instance) -> None:
    row, file = save(full)
    keep_time(change)(file)
    assert blob_files.flaw(full, row) is None  # nothing shows without reading
    with pytest.raises(TableNotFoundError, match=OTHER):
        load(full, row)
    assert blob_files.flaw(full, row) == OTHER
    save(full)
    assert blob_files.flaw(full, row) is None
    assert load(full, row) == 3


def test_a_file_of_another_user_goes_aside(full: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    row, file = save(full)
    keep_time(change)(file)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(TableNotFoundError, match=OTHER):
        load(full, row)
    assert blob_files.flaw(full, row) == "was dropped"
    assert len(blob_files.unreferenced(full, "s", {row.location or ""})) == 1


def test_a_directory_that_nobody_may_write_to_changes_no_error(
    full: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, file = save(full)
    keep_time(change)(file)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(TableNotFoundError, match=OTHER):
        load(full, row)
    assert file.is_file()


def test_a_file_that_cannot_be_read_is_told(
    full: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, file = save(full)
    os.utime(file)
    opened = Path.open

    def fail(path: Path, *arguments: object, **options: object) -> object:
        if path == file:
            raise OSError(5, "Input/output error")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    assert blob_files.flaw(full, row) == "cannot be read (Input/output error)"
    with pytest.raises(
        TableNotFoundError, match=r"cannot be read: Input/output error\. Let this us"
    ):
        load(full, row)


def test_an_untouched_file_is_not_read(full: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    row, file = save(full)
    copy = shutil.copy2(file, file.with_name("copy"))
    os.replace(copy, file)  # as a restored backup does
    monkeypatch.setattr(blob_files, "_version_of", None)
    assert blob_files.flaw(full, row) is None


def test_a_file_whose_time_was_lost_is_read_once(
    full: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an archive that keeps no fractions of seconds, or written by an earlier version."""
    row, file = save(full)
    os.utime(file, (1e9, 1e9))
    assert blob_files.flaw(full, row) is None
    monkeypatch.setattr(blob_files, "_version_of", None)
    assert blob_files.flaw(full, row) is None
    assert file.stat().st_mtime_ns // 10**9 == 10**9


def test_times_that_cannot_be_set_make_no_file_be_read_twice(
    full: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, file = save(full)
    os.utime(file, (1e9, 1e9))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert blob_files.flaw(full, row) is None
    monkeypatch.setattr(Path, "open", refuse)
    assert blob_files.flaw(full, row) is None


def test_the_name_tells_the_content_where_the_catalog_does_not(full: Instance) -> None:
    """In a catalog of an earlier version."""
    row, file = save(full)
    row = replace(row, checksum=None, bytes=None)
    assert blob_files.flaw(full, row) is None
    change(file)
    assert blob_files.flaw(full, row) == OTHER
    with pytest.raises(TableNotFoundError, match=OTHER):
        load(full, row)


def test_a_file_of_another_version_does_not_pass_for_it(full: Instance) -> None:
    """The catalog's row says which content it is, whatever file it points to."""
    row, _ = save(full, 3)
    _, file = save(full, 4)
    row = replace(row, location=str(file.relative_to(blob_files.directory(full))))
    assert blob_files.flaw(full, row) == OTHER
    with pytest.raises(TableNotFoundError, match=OTHER):
        load(full, row)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_and_their_folders_are_for_nobody_else(full: Instance, umask: int) -> None:
    before = os.umask(umask)
    try:
        _, file = save(full)
    finally:
        os.umask(before)
    base = Path(full.blob_store.base_path)
    assert file.stat().st_mode & 0o777 == 0o600
    for folder in (base, base / "full", base / "full" / "s"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_folders_that_are_there_stay_as_they_are(full: Instance) -> None:
    folder = blob_files.directory(full) / "s"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(0o755)
    save(full)
    for path in (folder, folder.parent, folder.parent.parent):
        assert path.stat().st_mode & 0o777 == 0o755
