"""A project chooses how the objects of a type become files; a file says what wrote it."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError, IsolationError, UnsupportedDataError
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.store.blobs import blob_files
from data_pipeline_tests.transfer import formats
from data_pipeline_tests.transfer.formats import Forest, Model, Tree

MODEL = StageTable("s", "model")
HERE = formats.__name__

With = Callable[..., Instance]


@pytest.fixture
def instance_with(tmp_path: Path) -> With:
    """Gives the instance `full` with serialisers by type; names without module are in `formats`."""

    def made(**serializers: str) -> Instance:
        chosen = {f"{HERE}.{kind}": f"{HERE}:{name}" for kind, name in serializers.items()}
        full = load_configuration().instance("full")
        changes = {"base_path": tmp_path, "serializers": chosen}
        return replace(full, blob_store=full.blob_store.model_copy(update=changes))

    return made


def test_without_a_choice_a_blob_is_a_pickle(instance_with: With, tmp_path: Path) -> None:
    saved = blob_files.save(instance_with(), MODEL, Model(3))
    assert saved.location == f"s/model.{saved.version}.pickle"
    content = (tmp_path / "full" / saved.location).read_bytes()
    assert pickle.loads(content).weight == 3
    assert (saved.bytes, saved.suffix) == (len(content), "pickle")


def test_a_serializer_writes_and_reads_the_objects_of_its_type(
    instance_with: With, tmp_path: Path
) -> None:
    full = instance_with(Model="model_file")
    saved = blob_files.save(full, MODEL, Model(3))
    assert saved.location == f"s/model.{saved.version}.{HERE}:model_file.json"
    assert (tmp_path / "full" / saved.location).read_text() == '{"weight": 3}'
    assert saved.suffix == "json"
    assert blob_files.read(full, MODEL, saved.location).weight == 3
    assert blob_files.save(full, MODEL, {"weight": 3}).suffix == "pickle"


def test_subclasses_are_served_by_the_serializer_of_the_closest_type(instance_with: With) -> None:
    full = instance_with(Model="model_file", Tree="tree_file")
    location = blob_files.save(full, MODEL, Forest(3)).location
    assert type(blob_files.read(full, MODEL, location)) is Tree
    assert ":tree_file.json" in location


def test_a_type_may_be_named_where_it_is_imported(instance_with: With) -> None:
    full = instance_with()
    choice = {f"{__name__}.Model": f"{HERE}:model_file"}
    store = full.blob_store.model_copy(update={"serializers": choice})
    assert blob_files.save(replace(full, blob_store=store), MODEL, Model(3)).suffix == "json"


@pytest.mark.parametrize("name", [f"{HERE}:Formats.Digits", "data_pipeline_tests.transfer:formats"])
def test_a_serializer_is_any_object_with_dumps_and_loads(
    instance_with: With, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "dumps", formats.Formats.Digits.dumps, raising=False)
    monkeypatch.setattr(formats, "loads", formats.Formats.Digits.loads, raising=False)
    full = instance_with()
    store = full.blob_store.model_copy(update={"serializers": {f"{HERE}.Model": name}})
    full = replace(full, blob_store=store)
    saved = blob_files.save(full, MODEL, Model(3))
    assert saved.suffix == "bin"
    assert blob_files.read(full, MODEL, saved.location).weight == 3


def test_a_file_is_read_by_what_wrote_it_whatever_is_chosen_now(instance_with: With) -> None:
    pickled = blob_files.save(instance_with(), MODEL, Model(1)).location
    written = blob_files.save(instance_with(Model="model_file"), MODEL, Model(2)).location
    assert blob_files.read(instance_with(Model="model_file"), MODEL, pickled).weight == 1
    assert blob_files.read(instance_with(Model="Formats.Digits"), MODEL, written).weight == 2


def test_a_name_that_looks_like_the_end_of_a_file_misleads_nobody(instance_with: With) -> None:
    odd = StageTable("s", f"model.{'0' * 32}.os:path")
    saved = blob_files.save(instance_with(), odd, Model(3))
    assert blob_files.read(instance_with(), odd, saved.location).weight == 3


@pytest.mark.parametrize(
    ("kind", "serializer", "message"),
    [
        ("Nothing", "model_file", f"names the type '{HERE}.Nothing', which cannot be found"),
        ("model_file", "model_file", "which cannot be found: it is no type"),
        ("Model", "nothing", f"the serializer '{HERE}:nothing', which cannot be imported"),
        ("Model", "Model", f"'{HERE}:Model', which is no serializer: it has no dumps and no loads"),
        ("Model", "Odd", "whose suffix 'a/b' cannot end a file's name"),
    ],
)
def test_a_wrong_name_is_an_error_of_the_configuration(
    instance_with: With, tmp_path: Path, kind: str, serializer: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        blob_files.save(instance_with(**{kind: serializer}), MODEL, Model(3))
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_serializer_that_gives_no_bytes_is_named(instance_with: With) -> None:
    with pytest.raises(UnsupportedDataError, match=r"formats:Text\.bin: `dumps` gave str, not byt"):
        blob_files.save(instance_with(Model="Text"), MODEL, Model(3))


def test_a_serializer_that_is_gone_is_named_with_the_file(
    instance_with: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = blob_files.save(instance_with(Model="model_file"), MODEL, Model(3)).location
    monkeypatch.delattr(formats, "model_file")
    with pytest.raises(ConfigurationError) as caught:
        blob_files.read(instance_with(), MODEL, location)
    assert location in str(caught.value)
    assert f"was written by the serializer '{HERE}:model_file', which cannot be im" in str(
        caught.value
    )


def test_files_that_nothing_refers_to_are_found(instance_with: With, tmp_path: Path) -> None:
    full = instance_with(Tree="tree_file")
    kept = blob_files.save(full, MODEL, Model(1)).location
    left = {blob_files.save(full, MODEL, made).location for made in (Model(2), Tree(3))}
    blob_files.save(full, StageTable("s2", "model"), Model(4))
    folder = tmp_path / "full" / "s"
    (folder / ".new.abc").touch()
    (folder / "notes.txt").touch()
    found = blob_files.unreferenced(full, "s", {kept})
    assert set(found) == {tmp_path / "full" / name for name in (*left, "s/.new.abc")}
    assert blob_files.unreferenced(full, "s3", set()) == []
    with pytest.raises(IsolationError):
        blob_files.unreferenced(full, "../midi", set())
