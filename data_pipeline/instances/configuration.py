"""The configuration: all instances of one file, validated as a whole."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from data_pipeline.instances import project
from data_pipeline.instances.environment import Environment
from data_pipeline.instances.instance import SAMPLE_STAGE, Instance, key_parts
from data_pipeline.instances.merged_layers import Located, locate, problem, shown, suggestion
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.resolution import Resolver, Sections
from data_pipeline.instances.settings.caching_and_kept_versions import CacheValidation
from data_pipeline.instances.settings.copy_filters import CopyAttrs
from data_pipeline.instances.settings.instance_keys import InstanceKeys
from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings
from data_pipeline.instances.settings.sample import RootSettings, SampleSettings
from data_pipeline.instances.settings.stores_and_commits import BlobStore, TableStore
from data_pipeline.instances.yaml_file import configuration_path, read_configuration

Shape: TypeAlias = Mapping[str, "Shape | None"]
"""The keys that a mapping may have, each with the shape of its value; `None` stands for a single
value (which settings check later), and the key `*` for every other key."""


def _keys(*names: str) -> Shape:
    return dict.fromkeys(names)


_TABLE_STORE = _keys(*TableStore.model_fields, "url_attrs_file")
_BLOB_STORE: Shape = {**_keys(*BlobStore.model_fields), "serializers": {"*": None}}
_FREE: Shape = {}
_SAMPLE: Shape = {
    **_keys(*SampleSettings.model_fields),
    "roots": {"*": _keys(*RootSettings.model_fields)},
    "size": _FREE,
    "cover": _FREE,  # a word or a mapping: its own validator looks at it
    "pins": _FREE,
    "whole": _FREE,
    "cut": _FREE,
    "follow": {"*": None},
    "where": {"*": None},
    "mask": {"*": {"*": None}},
    "checks": dict.fromkeys(CheckSettings.model_fields, _FREE),  # a number or a mapping, likewise
}
_ATTRS: Shape = {"*": _FREE, "sample": _SAMPLE}

_TECHNICAL_SETUP: Shape = {
    "table_store": _TABLE_STORE,
    "blob_store": _BLOB_STORE,
    "cache_validation": _keys(*CacheValidation.model_fields),
}
_FILE: Shape = {
    "name": None,
    "tracked_packages": None,
    "table_store_connections": {
        "*": _keys(*(key for key in _TABLE_STORE if key != "table_store_connection"))
    },
    "blob_store_connections": {"*": _keys("base_path")},
    "technical_setups": {"*": _TECHNICAL_SETUP},
    "instances": {"*": {**_keys(*InstanceKeys.model_fields), **_TECHNICAL_SETUP, "attrs": _ATTRS}},
}


def check_structure(
    file: Path, content: Mapping[Any, Any], shape: Shape = _FILE, key: str = ""
) -> None:
    """Check the keys of a part of the file.

    Raises:
        ConfigurationError: A key is unknown or no text, or a value should be a mapping and is none.
    """
    for name, value in content.items():
        path = f"{key}.{name}" if key else f"{name}"
        if not isinstance(name, str):
            raise problem(file, key, f"the key {name!r} is not a text", f"Write it as '{name}'.")
        if name not in shape and "*" not in shape:
            raise problem(file, key, f"unknown key {shown(name)}", suggestion(name, shape))
        if shape is _ATTRS:
            _check_attr(file, name, path)
        below = shape[name] if name in shape else shape["*"]
        if value is None or below is _FREE:
            continue
        if below is None:
            if isinstance(value, Mapping):
                what = "a single value is needed here, not a mapping"
                raise problem(file, path, what, "Write 'key: value' in one line.")
            continue
        if not isinstance(value, Mapping):
            what = f"a mapping of keys is needed here, not a value of type {type(value).__name__}"
            entries = "Write 'name: value' entries below it."
            raise problem(file, path, what, entries if "*" in below else suggestion("", below))
        check_structure(file, value, below, path)


_SHORTENED = ("copy_filter", "copy_filters")
"""What users write for one of ours, and is too short to be much like any."""


def _check_attr(file: Path, name: str, path: str) -> None:
    """Refuse a slip of the pen in an attr of ours; without this it would be taken for a free one.

    `copy_filter_count`, say, would let a small instance copy everything.
    """
    known = CopyAttrs.model_fields
    # Of two letters that changed places, a short name is less like itself.
    swapped = len(name) > 3 and any(sorted(name) == sorted(item) for item in known)
    near = swapped or name in _SHORTENED or get_close_matches(name, known, n=1, cutoff=0.9)
    if name not in known and near:
        what = f"the key {shown(name)} has no meaning, but is too much like one that has"
        raise problem(file, path, what, suggestion(name, known))


MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer identifiers off, in silence."""


def check_schemas(file: Path, instances: Iterable[Instance], stages: Iterable[str]) -> None:
    """Check all schemas that the instances can reach with these stages.

    Schemas that differ only by case count as the same, and so do schemas of instances in different
    databases: nothing then depends on how a server is spelled.

    Raises:
        ConfigurationError: A name is over 63 bytes, or two uses of schemas meet in one.
    """
    names = list(dict.fromkeys(stages))
    owners: dict[str, str] = {}
    for instance in instances:
        for schema, owner in _schemas(instance, names):
            _check_length(file, schema, owner)
            other = owners.setdefault(schema.lower(), owner)
            if other != owner:
                what = f"{other} and {owner} would both use the schema '{schema}'"
                raise problem(file, "instances", what, "Rename a stage or change an instance_id.")


def _schemas(instance: Instance, stages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Return each schema that an instance can reach, and what uses it."""
    label = f"instance '{instance.name}' (id '{instance.instance_id}')"
    sampling = f"the sampling of {label}"
    yield instance.catalog_schema, f"the catalog of {label}"
    yield instance.sample_schema, sampling
    yield instance.sample_work_schema, sampling
    for stage in stages:
        yield (
            instance.schema(stage),
            # The tables of this stage are made by sampling itself.
            sampling if stage == SAMPLE_STAGE else f"stage '{stage}' of {label}",
        )
        yield instance.staging_schema(stage), f"the staging of stage '{stage}' of {label}"
        yield instance.slots_schema(stage), f"the cache slots of stage '{stage}' of {label}"


def _check_length(file: Path, schema: str, owner: str) -> None:
    excess = len(schema.encode()) - MAX_IDENTIFIER_BYTES
    if excess > 0:
        what = (
            f"the schema '{schema}' for {owner} has {MAX_IDENTIFIER_BYTES + excess} bytes, and "
            f"PostgreSQL allows {MAX_IDENTIFIER_BYTES}"
        )
        remedy = f"Shorten the instance_id, the schema_prefix or the stage by {excess} bytes."
        raise problem(file, "instances", what, remedy)


_DEFAULT_NAME = "data_pipeline"


@dataclass(frozen=True)
class Configuration:
    """What `instances.yaml` says, in the environment of this process.

    Attributes:
        name: Name of the project.
        file: The file it was read from.
        home: Directory of the embedded server and of local storage (`DATA_PIPELINE_HOME`).
        tracked_packages: Libraries whose versions count as code of the assets that use them.
        instances: The instances by name, in the order of the file.
        unused: The connections that no instance refers to, as the file names them.
    """

    name: str
    file: Path
    home: Path
    tracked_packages: tuple[str, ...]
    instances: Mapping[str, Instance] = field(hash=False)
    _neighbours: tuple[Instance, ...] = field(repr=False)
    unused: tuple[str, ...] = ()

    def instance(self, name: str) -> Instance:
        """Return an instance by its name, which is its partition key, or a part of that.

        A key with the slice of a table beside it gives the instance for a run of that slice.

        Raises:
            ConfigurationError: There is none of that name; or two parts of the key are instances.
        """
        if len(parts := key_parts(name)) > 1:
            return replace(self.instance(self._named_in(name, parts)), sliced_by=name)
        if name not in self.instances:
            what = f"there is no instance {shown(name)}"
            raise problem(self.file, "instances", what, suggestion(name, self.instances))
        return self.instances[name]

    def _named_in(self, key: str, parts: Sequence[str]) -> str:
        """Name the one instance in a partition key of several parts."""
        if len(named := [part for part in parts if part in self.instances]) == 1:
            return named[0]
        what = "several instances" if named else "no instance"
        remedy = f"One part is an instance ({', '.join(self.instances)}), the other a slice."
        raise problem(self.file, "instances", f"partition key {shown(key)} names {what}", remedy)

    @property
    def of_unpartitioned(self) -> Instance | None:
        """The instance that has the tables of assets without partitions; None if it is unclear.

        It is `full`, or the only one that copies from no other.
        """
        if (full := self.instances.get("full")) is not None:
            return full
        roots = [instance for instance in self.instances.values() if not instance.copies]
        return roots[0] if len(roots) == 1 else None

    def read_by(self, reader: Instance, name: str) -> Instance:
        """Return the instance that `reader` means by a partition key.

        A copying instance says itself whose source it reads (`copy_per_user`), and so does that.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name == reader.name:
            return reader
        source = reader.source
        return self.instance(name) if source is None else self.read_by(source, name)

    def check_stages(self, stages: Iterable[str]) -> None:
        """Check that each of these stages has schemas of its own in each instance.

        Call it with the stages of all pipelines together. Beside the instances of this
        configuration it looks at those that share a database with per-user ones: the shared
        instances, and the ones that are copied from.

        Raises:
            ConfigurationError: A schema name is over 63 bytes, or two instances, two stages, or a
                stage and a catalog would use the same schema.
        """
        check_schemas(self.file, (*self.instances.values(), *self._neighbours), stages)


_replacement: list[Configuration] = []


@contextmanager
def in_force(configuration: Configuration) -> Iterator[None]:
    """Let a configuration take the place of the project's in this process, for a block.

    So that in tests whatever asks for the configuration meets instances of the test alone.
    """
    _replacement.append(configuration)
    try:
        yield
    finally:
        _replacement.pop()


def load_configuration(
    path: Path | str | None = None,
    *,
    per_user: bool | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Read and validate the configuration.

    Args:
        path: The file; by default `DATA_PIPELINE_CONFIG`, else the `instances.yaml` of the project
            (see `project.configuration_file`), else the one of the package.
        per_user: Whether all instance ids have the user's name in them, or none; by default
            `DATA_PIPELINE_PER_USER`, else what the file says of each instance.
        environ: The environment variables; by default those of the process.

    Raises:
        ConfigurationError: Something in it is wrong; the text names file, key and remedy.
    """
    if _replacement and path is None and environ is None:
        return _replacement[-1]
    project.note_caller()
    environment = Environment(os.environ if environ is None else environ)
    file = configuration_path(path, environment.variables)
    content = read_configuration(file)
    check_structure(file, content)
    sections = Sections(file, locate(content, ""), environment)
    if not sections.instance_names:
        what = "there is no instance"
        raise problem(file, "instances", what, "Add one, such as 'full: {instance_id: full}'.")
    name = _name(sections)
    resolver = Resolver(sections, name, environment.per_user if per_user is None else per_user)
    instances = {key: resolver.instance(key) for key in sections.instance_names}
    for key in sections.instance_names:
        if (key, True) in resolver.built:
            resolver.instance(key, per_user=False)
    own = {id(instance) for instance in instances.values()}
    neighbours = tuple(other for other in resolver.built.values() if id(other) not in own)
    configuration = Configuration(
        name,
        file,
        environment.home,
        _tracked_packages(sections),
        MappingProxyType(instances),
        neighbours,
        tuple(_unused(sections, resolver.built.values())),
    )
    configuration.check_stages([])
    return configuration


def _unused(sections: Sections, instances: Iterable[Instance]) -> Iterator[str]:
    """Name the connections that no instance refers to, which may be there for another shell."""
    instances = list(instances)
    tables = {instance.table_store.table_store_connection for instance in instances}
    blobs = {instance.blob_store.blob_store_connection for instance in instances}
    for section, used in (("table_store_connections", tables), ("blob_store_connections", blobs)):
        yield from (f"{section}.{name}" for name in sections.section(section) if name not in used)


def _tracked_packages(sections: Sections) -> tuple[str, ...]:
    located = sections.content.get("tracked_packages")
    packages = located.value if located else None
    if packages is None:
        return ()
    if not isinstance(packages, list) or not all(isinstance(item, str) for item in packages):
        what = f"{shown(packages)} is no list of package names"
        raise problem(sections.file, "tracked_packages", what, "Write [scikit-learn], for example.")
    return tuple(packages)


def _name(sections: Sections) -> str:
    located = sections.content.get("name") or Located(_DEFAULT_NAME, "name")
    if not isinstance(located.value, str) or not located.value:
        what = f"the name {shown(located.value)} is not a text"
        raise problem(sections.file, "name", what, "Write a text, in quotes if need be.")
    return Placeholders(sections.file, sections.environment, names={}).fill(located)
