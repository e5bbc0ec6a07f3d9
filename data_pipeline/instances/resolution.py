"""Builds instances from what the file says about them: fills in, validates, finds sources."""

from dataclasses import dataclass, field
from typing import Any

from data_pipeline.instances.environment import user_identifier
from data_pipeline.instances.instance import Instance
from data_pipeline.instances.layers import Sections
from data_pipeline.instances.merge import Located, Tree
from data_pipeline.instances.naming import check_instance_id, check_name
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.problems import problem, suggestion
from data_pipeline.instances.settings import CacheValidation, CopyAttrs, InstanceKeys
from data_pipeline.instances.stores import blob_store, table_store
from data_pipeline.instances.validation import origin, validated
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_for


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
        """Give an instance, and with it the one that it copies from.

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
        command = self._build_command(name, identity, per_user)
        instance = self._build(name, instance_id, command, tree, (*copied_by, name))
        self.built[name, per_user] = instance
        return instance

    def _placeholders(self, **names: str) -> Placeholders:
        """Give placeholders in which `{username}` can be part of an identifier."""
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

    def _build_command(self, name: str, identity: InstanceKeys, per_user: bool) -> str:
        """Give the shell command that builds an instance under this id, per-user or not."""
        said = self.sections.environment.per_user
        usual = identity.per_user if said is None else said
        prefix = "" if per_user == usual else f"DATA_PIPELINE_PER_USER={per_user:d} "
        return f"{prefix}dagster job execute -m data_pipeline.definitions -j {name}"

    def _build(
        self, name: str, instance_id: str, command: str, tree: Tree, copied_by: tuple[str, ...]
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
            build_command=command,
            _copying=copying,
            _attrs=copying.model_dump(exclude_unset=True),
        )
        self._check_same_database(instance, attrs)
        self._check_is_whole(instance, attrs)
        return instance

    def _source(
        self, copying: CopyAttrs, attrs: Tree, key: str, copied_by: tuple[str, ...]
    ) -> Instance | None:
        """Give the instance to copy from, if there is one."""
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
