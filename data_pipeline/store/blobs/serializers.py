"""Serialisers: what turns a blob's object into bytes and back.

The default is pickle, and loading a pickle runs code that is stored in it. A project chooses others
for types of its own by `blob_store.serializers` in the configuration, so that their files hold data
alone (as those of skops do), or large arrays load faster (joblib):

    serializers: {sklearn.base.BaseEstimator: "my_project.formats:skops_file"}

where `skops_file` is an object, class or module with `dumps(obj) -> bytes` and
`loads(bytes) -> object`, and perhaps `suffix: str` for its files. It serves the type and its
subclasses; of several, the one of the closest type. The name of a file says what wrote it, so that
another choice holds for new files, and earlier ones stay readable while what wrote them exists.
"""

import importlib
import pickle
import re
from dataclasses import dataclass
from typing import Any

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.instances import Instance

_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,20}")
_ENDING = re.compile(r"(?P<name>[\w.]+:[\w.]+)\.[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Serializer:
    """One way to write and read objects.

    Attributes:
        ending: How the names of its files end, which says what can read them.
        suffix: The last part of it: the format, for people.
    """

    ending: str
    suffix: str
    _format: Any

    def dumps(self, table: StageTable, obj: Any) -> bytes:
        """Return an object as bytes.

        Raises:
            UnsupportedDataError: It cannot be written.
        """
        try:
            content = self._format.dumps(obj)
        except Exception as error:  # the object's own code may raise anything
            raise UnsupportedDataError(self._refusal(table, obj, str(error))) from error
        if not isinstance(content, bytes):
            reason = f"`dumps` gave {type(content).__qualname__}, not bytes"
            raise UnsupportedDataError(self._refusal(table, obj, reason))
        return content

    def loads(self, content: bytes) -> Any:
        """Return the object back; raise whatever the code of the object or the format raises."""
        return self._format.loads(content)

    def _refusal(self, table: StageTable, obj: Any, reason: str) -> str:
        what = f"Asset `{table}` returned {type(obj).__module__}.{type(obj).__qualname__}, which is"
        if self is PICKLE:
            return (
                f"{what} no table and cannot be stored as a blob either: {reason}. Return a data "
                "frame, a SQL query, `Table(...)`, or an object that can be pickled; or name a "
                "serializer for its type in `blob_store.serializers`."
            )
        return (
            f"{what} no table and could not be written by its serializer {self.ending}: {reason}. "
            "Correct the serializer, or `blob_store.serializers` in the configuration."
        )


class _Pickle:
    """The newest pickle that all supported Pythons read."""

    @staticmethod
    def dumps(obj: Any) -> bytes:
        return pickle.dumps(obj, protocol=5)

    @staticmethod
    def loads(content: bytes) -> Any:
        return pickle.loads(content)  # noqa: S301 - from the instance's own directory, see blobs.py


PICKLE = Serializer("pickle", "pickle", _Pickle)
"""What writes and reads all objects for which the project has not chosen anything else."""


def chosen(instance: Instance, obj: Any) -> Serializer:
    """Return what an instance writes an object with.

    Raises:
        ConfigurationError: A type or the serializer is not there, or the latter is none.
    """
    names = instance.blob_store.serializers.items()
    by_type = {_type(name): serializer for name, serializer in names}
    for kind in type(obj).__mro__:
        if kind in by_type:
            return _serializer(by_type[kind], "`blob_store.serializers` in the configuration names")
    return PICKLE


def by_ending(ending: str, file: str) -> Serializer:
    """Return what a file was written with.

    Args:
        ending: The end of the file's name.
        file: The file, for errors.

    Raises:
        ConfigurationError: The serializer is not there any more, or is none.
        UnsupportedDataError: The name does not say what the file was written with.
    """
    if ending == PICKLE.ending:
        return PICKLE
    match = _ENDING.fullmatch(ending)
    if match is None:
        raise UnsupportedDataError(
            f"The name of the blob's file {file} does not say what it was written with. Correct "
            "its location in the catalog, or build the blob again."
        )
    return _serializer(match["name"], f"The blob's file {file} was written by")


def _serializer(name: str, said: str) -> Serializer:
    module, _, path = name.partition(":")
    try:
        found = _attribute(module, path)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{said} the serializer '{name}', which cannot be imported: {error}. Correct the name, "
            "or install or restore what it names."
        ) from error
    missing = [what for what in ("dumps", "loads") if not callable(getattr(found, what, None))]
    if missing:
        raise ConfigurationError(
            f"{said} '{name}', which is no serializer: it has no {' and no '.join(missing)}. A "
            "serializer has dumps(obj) -> bytes and loads(bytes) -> object."
        )
    suffix = getattr(found, "suffix", "bin")
    bare = suffix.removeprefix(".") if isinstance(suffix, str) else ""
    if not _SUFFIX.fullmatch(bare):
        raise ConfigurationError(
            f"{said} the serializer '{name}', whose suffix {suffix!r} cannot end a file's name. "
            "Use up to 20 letters, digits, '_' and '-', such as 'joblib'."
        )
    return Serializer(f"{name}.{bare}", bare, found)


def _type(name: str) -> type:
    module, _, path = name.rpartition(".")
    flaw = "it is no type"
    try:
        found = _attribute(module, path)
        if isinstance(found, type):
            return found
    except (ImportError, AttributeError) as error:
        flaw = str(error)
    raise ConfigurationError(
        f"`blob_store.serializers` in the configuration names the type '{name}', which cannot be "
        f"found: {flaw}. Write 'package.module.Type', and check that the package is installed."
    )


def _attribute(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        if not hasattr(found, part) and hasattr(found, "__path__"):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found
