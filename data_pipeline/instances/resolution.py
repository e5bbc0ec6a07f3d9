"""Builds instances from what the file says about them: fills in, validates, finds sources."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from data_pipeline.instances.environment import Environment
from data_pipeline.instances.instance import Instance
from data_pipeline.instances.merged_layers import (
    Located,
    Tree,
    merge_all,
    problem,
    shown,
    suggestion,
)
from data_pipeline.instances.names_of_instances_and_users import (
    check_instance_id,
    check_name,
    check_schema_prefix,
    user_identifier,
)
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.settings.caching_and_kept_versions import CacheValidation
from data_pipeline.instances.settings.copy_filters import CopyAttrs
from data_pipeline.instances.settings.database_url import EMBEDDED, DatabaseUrl
from data_pipeline.instances.settings.instance_keys import InstanceKeys
from data_pipeline.instances.settings.stores_and_commits import BlobStore, TableStore
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_for
from data_pipeline.instances.yaml_file import origin, read_url_attrs, validated


def table_store(
    tree: Tree, placeholders: Placeholders, named: Placeholders, instance_id: str, key: str
) -> TableStore:
    """Return the table store of an instance.

    Args:
        tree: Merged `table_store`, values as `Located`.
        placeholders: For the URL: `{username}` is the user's name as it is.
        named: For the schema prefix: `{username}` is the user's name as a part of an identifier.
        instance_id: With which the prefix must begin.
        key: Key path of the merged mapping.

    Raises:
        ConfigurationError: A value is wrong. Nothing of a URL is shown.
    """
    plain = {name: value for name, value in tree.items() if name not in {"url", "url_attrs_file"}}
    values: dict[str, Any] = {"schema_prefix": f"{instance_id}_", **named.fill_tree(plain)}
    values["url"] = _url(tree, placeholders, f"{key}.url")
    _locate(values, "local_cache", tree, placeholders.file, key)
    store = validated(TableStore, values, placeholders.file, key, tree)
    where, _ = origin(tree, key, ("schema_prefix",))
    check_schema_prefix(placeholders.file, where, store.schema_prefix, instance_id)
    return store


def blob_store(tree: Tree, placeholders: Placeholders, key: str) -> BlobStore:
    """Return the blob store of an instance; by default it is in the home directory.

    Raises:
        ConfigurationError: A value is wrong.
    """
    default = {"base_path": str(placeholders.environment.home / "blobs")}
    values = {**default, **placeholders.fill_tree(tree)}
    _locate(values, "base_path", tree, placeholders.file, key)
    return validated(BlobStore, values, placeholders.file, key, tree)


def _locate(values: dict[str, Any], name: str, tree: Tree, file: Path, key: str) -> None:
    """Let a path among the values start at the directory of the file."""
    if values.get(name) == "":
        where, _ = origin(tree, key, (name,))
        raise problem(file, where, "the path is empty", "Name a directory.")
    if isinstance(values.get(name), str) and (name != "base_path" or not _is_url(values[name])):
        values[name] = _path(values[name].removeprefix(_FILE_URL), file)


def _url(tree: Tree, placeholders: Placeholders, key: str) -> DatabaseUrl:
    replacement = placeholders.environment.database_url
    if replacement is not None:
        where, text = "environment variable DATA_PIPELINE_DATABASE_URL", replacement
    else:
        located = tree.get("url", Located(EMBEDDED, key))
        where = located.key
        if not isinstance(located.value, str):
            what = f"the URL is of type {type(located.value).__name__}, not a text"
            raise problem(placeholders.file, where, what, "Put it in quotes.")
        text = placeholders.fill_url(located, lambda: _url_attrs(tree, placeholders))
    flaw = None
    try:
        return DatabaseUrl(text)
    except ValueError as error:
        flaw = str(error)
    remedy = "Write 'embedded' or 'postgresql://user:password@host:port/database'."
    raise problem(placeholders.file, where, f"no usable database URL: {flaw}", remedy)


def _url_attrs(tree: Tree, placeholders: Placeholders) -> Mapping[str, str] | None:
    located = tree.get("url_attrs_file")
    if located is None:
        return None
    if not isinstance(located.value, str):
        what = f"the path is of type {type(located.value).__name__}, not a text"
        raise problem(placeholders.file, located.key, what, "Put it in quotes.")
    path = _path(placeholders.fill(located), placeholders.file)
    return read_url_attrs(path, placeholders.file, located.key)


_FILE_URL = "file://"


def _is_url(text: str) -> bool:
    return "://" in text and not text.startswith(_FILE_URL)


def _path(text: str, file: Path) -> Path:
    return file.parent / Path(text).expanduser()


ANY = "__any__"
"""Key in `instances` of what all instances inherit."""
DEFAULT_SETUP = "default"
"""The technical setup of an instance that names none, if the file has one of that name."""


@dataclass(frozen=True)
class Sections:
    """The sections of a configuration file, their values as `Located`."""

    file: Path
    content: Tree = field(repr=False)  # may hold passwords
    environment: Environment

    def section(self, name: str) -> Tree:
        """Return a top-level mapping of the file; empty when the file has none."""
        return self.content.get(name) or {}

    @property
    def instance_names(self) -> list[str]:
        """Name of the instances in the order of the file."""
        return [name for name in self.section("instances") if name != ANY]

    def merged(self, name: str) -> Tree:
        """Return all that the file says about an instance.

        From the least to the most specific: the connections, which the merged stores refer to by
        name; the technical setup; `__any__`; the instance itself.

        Raises:
            ConfigurationError: It refers to a setup or a connection that does not exist.
        """
        instances = self.section("instances")
        own = [instances.get(ANY) or {}, instances[name] or {}]
        layers = [self._technical_setup(merge_all(own)), *own]
        referring = merge_all(layers)
        connections = [
            self._connection(referring, store) for store in ("table_store", "blob_store")
        ]
        return merge_all([*connections, *layers])

    def _technical_setup(self, own: Tree) -> Tree:
        chosen = own.get("technical_setup")
        if chosen is None:
            self._check_default_setup()
            return self.section("technical_setups").get(DEFAULT_SETUP) or {}
        return self._entry(chosen, "technical_setups")

    def _check_default_setup(self) -> None:
        """Refuse a slip of the pen in `default`: without this, the embedded server is taken."""
        setups = self.section("technical_setups")
        near = get_close_matches(DEFAULT_SETUP, setups, n=1, cutoff=0.8)
        if near and DEFAULT_SETUP not in setups:
            what = f"instances that name no setup take {shown(DEFAULT_SETUP)}, which is not there"
            key = f"technical_setups.{near[0]}"
            raise problem(self.file, key, what, suggestion(near[0], [DEFAULT_SETUP]))

    def _connection(self, referring: Tree, store: str) -> Tree:
        chosen = referring.get(store, {}).get(f"{store}_connection")
        return {} if chosen is None else {store: self._entry(chosen, f"{store}_connections")}

    def _entry(self, chosen: Located, section: str) -> Tree:
        """Return the entry of a section that a value of the file refers to by its name."""
        entries = self.section(section)
        name = Placeholders(self.file, self.environment, names={}).fill_tree(chosen)
        if not isinstance(name, str) or name not in entries:
            what = f"{shown(chosen.value)} is not in {section}"
            raise problem(self.file, chosen.key, what, suggestion(str(name), entries))
        return entries[name] or {}


@dataclass(frozen=True)
class Resolver:
    """Gives the instances of one file, each built once.

    Attributes:
        sections: The file.
        name: The configuration's own name, for `{name}`.
        per_user: Whether all instances are per-user, or none; `None`: as the file says.
        built: Every instance so far, also those that are only copied from, by name and by whether
            the id has the user's name in it.
    """

    sections: Sections
    name: str
    per_user: bool | None
    built: dict[tuple[str, bool], Instance] = field(default_factory=dict)

    def instance(
        self, name: str, per_user: bool | None = None, copied_by: tuple[str, ...] = ()
    ) -> Instance:
        """Return an instance, and with it the one that it copies from.

        Args:
            name: A name that the file has.
            per_user: Whether its id has the user's name in it; `None`: as configured.
            copied_by: Names of the instances that led here by copying, the first one first.

        Raises:
            ConfigurationError: The configuration of the instance is wrong.
        """
        check_name(self.sections.file, name)
        tree = self.sections.merged(name)
        identity = self._identity(name, tree)
        usual = identity.per_user if self.per_user is None else self.per_user
        per_user = usual if per_user is None else per_user
        known = self.built.get((name, per_user))
        if known is not None:
            return known
        key = f"instances.{name}"
        where, _ = origin(tree, key, ("instance_id",))
        check_instance_id(self.sections.file, where, identity.instance_id)
        instance_id = identity.instance_id
        if per_user:
            instance_id = self._per_user_id(tree, identity, key)
        shell = self._environment(identity, per_user)
        instance = self._build(name, instance_id, shell, tree, (*copied_by, name))
        self.built[name, per_user] = instance
        return instance

    def _placeholders(self, **names: str) -> Placeholders:
        """Return placeholders in which `{username}` can be part of an identifier."""
        known = {key: lambda value=value: value for key, value in names.items()}
        user = {"username": lambda: user_identifier(self.sections.environment.username())}
        return Placeholders(self.sections.file, self.sections.environment, {**known, **user})

    def _identity(self, name: str, tree: Tree) -> InstanceKeys:
        keys = {key: tree[key] for key in InstanceKeys.model_fields if key in tree}
        template = keys.pop("per_user_template", None)
        values: dict[str, Any] = {
            "instance_id": name,
            **self._placeholders(name=self.name).fill_tree(keys),
        }
        if template is not None:  # has placeholders of its own
            values["per_user_template"] = template.value
        return validated(InstanceKeys, values, self.sections.file, f"instances.{name}", tree)

    def _per_user_id(self, tree: Tree, identity: InstanceKeys, key: str) -> str:
        template = identity.per_user_template
        where, _ = origin(tree, key, ("per_user_template",))
        if "{id}" not in template or "{username}" not in template:
            what = "per-user ids would not differ for every instance and user"
            remedy = "Use both {id} and {username} in per_user_template."
            raise problem(self.sections.file, where, what, remedy)
        instance_id = self._placeholders(id=identity.instance_id).fill(Located(template, where))
        check_instance_id(self.sections.file, where, instance_id)
        return instance_id

    def _environment(self, identity: InstanceKeys, per_user: bool) -> str:
        """Return what a shell command begins with to mean this id, per-user or not."""
        said = self.sections.environment.per_user
        usual = identity.per_user if said is None else said
        return "" if per_user == usual else f"DATA_PIPELINE_PER_USER={per_user:d} "

    def _build(
        self, name: str, instance_id: str, shell: str, tree: Tree, copied_by: tuple[str, ...]
    ) -> Instance:
        file, environment, key = self.sections.file, self.sections.environment, f"instances.{name}"
        named = self._placeholders(instance_id=instance_id, name=self.name)
        free = Placeholders(file, environment, {**named.names, "username": environment.username})
        validation = tree.get("cache_validation", {})
        attrs = tree.get("attrs", {})
        copying = validated(CopyAttrs, free.fill_tree(attrs), file, f"{key}.attrs", attrs)
        instance = Instance(
            name=name,
            instance_id=instance_id,
            home=environment.home,
            table_store=table_store(
                tree.get("table_store", {}), free, named, instance_id, f"{key}.table_store"
            ),
            blob_store=blob_store(tree.get("blob_store", {}), free, f"{key}.blob_store"),
            cache_validation=validated(
                CacheValidation,
                free.fill_tree(validation),
                file,
                f"{key}.cache_validation",
                validation,
            ),
            source=self._source(copying, attrs, f"{key}.attrs", copied_by),
            environment=shell,
            _copying=copying,
            _attrs=copying.model_dump(exclude_unset=True),
        )
        self._check_same_database(instance, attrs)
        self._check_is_whole(instance, attrs)
        return instance

    def _source(
        self, copying: CopyAttrs, attrs: Tree, key: str, copied_by: tuple[str, ...]
    ) -> Instance | None:
        """Return the instance to copy from, if there is one."""
        file, known = self.sections.file, self.sections.instance_names
        where, _ = origin(attrs, key, ("copy_source",))
        source = copying.copy_source
        if source is not None and source not in known:
            raise problem(
                file, where, f"there is no instance '{source}'", suggestion(source, known)
            )
        if not copying.copy_filtered_input:
            return None
        if source is None:
            what = "copy_filtered_input is true, but there is no copy_source"
            raise problem(file, where, what, "Name the instance to copy from, such as 'full'.")
        if source in copied_by:
            circle = " -> ".join([*copied_by[copied_by.index(source) :], source])
            what = f"instances copy from each other in a circle: {circle}"
            remedy = "One of them must load for itself: set its copy_filtered_input to false."
            raise problem(file, where, what, remedy)
        return self.instance(source, copying.copy_per_user, copied_by)

    def _check_same_database(self, instance: Instance, attrs: Tree) -> None:
        source = instance.source
        if source is None:
            return
        here, there = instance.table_store.url, source.table_store.url
        if here.identity != there.identity:
            where, _ = origin(attrs, f"instances.{instance.name}.attrs", ("copy_source",))
            what = (
                f"instance '{instance.name}' lives in {here}, but copies from '{source.name}' in "
                f"another database, {there}"
            )
            remedy = "Give both the same table_store url: rows are copied inside one database."
            raise problem(self.sections.file, where, what, remedy)

    def _check_is_whole(self, instance: Instance, attrs: Tree) -> None:
        """Refuse a sample of what is itself filtered or sampled."""
        if instance.sample is None or instance.source is None:
            return
        for root in instance.sample.roots:
            if (thin := thinned_for(instance.source, root)) is not None:
                where, _ = origin(attrs, f"instances.{instance.name}.attrs", ("copy_source",))
                raise problem(self.sections.file, where, *reason_and_remedy(instance, thin))
