"""What the resources of a run really are: a digest of the configuration or the object of each."""

import functools
import inspect
import types
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from data_pipeline.code_version.resource_definitions import (
    as_definition,
    held_object,
    is_given_by_key,
    is_object,
    nested_in,
    own_configuration,
    resource_class,
)
from data_pipeline.errors import UnstableValueError
from data_pipeline.instances.dagster_resource import InstanceOfRun
from data_pipeline.transfer.stable_hash import stable_hash

# Dagster has no public form of this: `get_resource_definition`, `nested_resources`,
# `nested_partial_resources` and `configurable_resource_cls` are undocumented, an object stands in
# the closure of a lambda of its own, and the configuration of a nested resource is processed by
# `process_config`. `data_pipeline_tests/memo/test_resource_configuration.py` fails when that
# changes.


IDENTITY_METHOD = "cache_identity"
"""The method by which an object says what it is: a plain value that changes when results would."""

_RUNS_KEPT = 8
_BUILTINS = (types.BuiltinFunctionType, types.MethodDescriptorType)


class ObjectDigests:
    """The digests of objects that are given as resources, each taken once.

    What a step does to an object is no other object: the next run starts from the first again.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str | UnstableValueError]] = {}

    def digest(self, value: Any) -> str:
        """Return the digest of an object, as it was when it was first asked for.

        Raises:
            UnstableValueError: It has none.
        """
        if id(value) not in self._known:
            self._known[id(value)] = (value, _digest(value))
        found = self._known[id(value)][1]
        if isinstance(found, UnstableValueError):
            raise found
        return found


_of_runs: OrderedDict[str, ObjectDigests] = OrderedDict()


def objects_of_run(run_id: str) -> ObjectDigests:
    """Return the digests of objects as this process found them when the run began."""
    found = _of_runs.setdefault(run_id, ObjectDigests())
    _of_runs.move_to_end(run_id)
    while len(_of_runs) > _RUNS_KEPT:
        _of_runs.popitem(last=False)
    return found


def remember_objects(context: dg.InitResourceContext) -> None:
    """Take the digests of all objects among the resources of a run, before a step changes them."""
    if context.run is None:
        return
    objects = objects_of_run(context.run.run_id)
    for definition in context.all_resource_defs.values():
        for value in _objects(definition):
            try:
                objects.digest(value)
            except UnstableValueError:
                continue  # said of those that a step asks for


@dataclass(frozen=True)
class SeenResources:
    """What ops get at by their resources.

    Attributes:
        digests: A digest of each resource, by key; None for one without a stable identity.
        instance: Whether they get at the instance.
    """

    digests: Mapping[str, str | None] = field(default_factory=dict)
    instance: bool = False


@dataclass(frozen=True)
class _Resource:
    """One resource: its digest, and which others it makes use of by their keys.

    Attributes:
        digest: A digest; None if it has no stable identity.
        counts: Whether it counts; the attrs of the instance speak for our own.
        instance: Whether it gives the instance.
        keys: The keys of others.
    """

    digest: str | None
    counts: bool
    instance: bool
    keys: tuple[str, ...]


class RunResources:
    """The resources of a run, each looked at once.

    Args:
        definitions: All resources of the job, by key.
        configured: The resolved configuration of the run (`ResolvedRunConfig.resources`).
        objects: What is known of objects.
    """

    def __init__(
        self,
        definitions: Mapping[str, dg.ResourceDefinition],
        configured: Mapping[str, Any],
        objects: ObjectDigests | None = None,
    ) -> None:
        self._definitions = definitions
        self._configured = configured
        self._objects = objects or ObjectDigests()
        self._known: dict[str, _Resource] = {}
        self.problems: dict[str, str] = {}
        """Why resources that were asked for have no stable identity, by key."""

    def seen(self, keys: Iterable[str]) -> SeenResources:
        """Return what ops get at that ask for resources, directly or by way of others."""
        found: dict[str, _Resource] = {}
        stack = list(keys)
        while stack:
            key = stack.pop()
            if key not in found and key in self._definitions:
                found[key] = self._resource(key)
                stack += found[key].keys
        return SeenResources(
            {key: found[key].digest for key in sorted(found) if found[key].counts},
            any(resource.instance for resource in found.values()),
        )

    def _resource(self, key: str) -> _Resource:
        if key not in self._known:
            self._known[key] = self._looked_at(key)
        return self._known[key]

    def _looked_at(self, key: str) -> _Resource:
        definition = self._definitions[key]
        config = getattr(self._configured.get(key), "config", None)
        look = _Look(self._definitions, self._objects)
        try:
            content = look.content(definition, config)
            digest = None if content is None else stable_hash(content)
        except (UnstableValueError, ValueError) as error:
            self.problems[key] = str(error)
            return _Resource(None, True, look.instance, tuple(look.keys))
        return _Resource(digest, digest is not None, look.instance, tuple(look.keys))


class _Look:
    """Reads what a resource is made of, and notes what it leads to."""

    def __init__(
        self, definitions: Mapping[str, dg.ResourceDefinition], objects: ObjectDigests
    ) -> None:
        self._definitions = definitions
        self._objects = objects
        self.instance = False
        self.keys: list[str] = []

    def content(self, definition: dg.ResourceDefinition, config: Any) -> Any:
        """Return plain data that stands for a resource; None if attrs speak for it."""
        self.keys += definition.required_resource_keys
        if is_object(definition):
            return "object", self._objects.digest(held_object(definition))
        kind = resource_class(definition)
        self.instance |= kind is not None and issubclass(kind, InstanceOfRun)
        if (chosen := _instance_fields(kind)) is not None:
            config = {name: value for name, value in (config or {}).items() if name not in chosen}
        nested = {
            name: self._nested(definition, name, resource)
            for name, resource in nested_in(definition).items()
        }
        if chosen is not None and not config and not any(nested.values()):
            return None
        # A function may hold values of the one that made it.
        made_by = _name(kind) if kind else self._objects.digest(definition.resource_fn)
        return made_by, definition.version, config, nested

    def _nested(self, definition: dg.ResourceDefinition, field: str, resource: Any) -> Any:
        inner = as_definition(resource)
        if is_given_by_key(definition, field):
            key = next(k for k, known in self._definitions.items() if known is inner)
            self.keys.append(key)
            return "key", key
        config = None if is_object(inner) else own_configuration(inner)
        return self.content(inner, config)


def _instance_fields(kind: type | None) -> frozenset[str] | None:
    """Return the fields of our own resources, which say where results lie; None for others."""
    found: frozenset[str] | None = getattr(kind, "chooses_instance_by", None)
    return found


def _objects(definition: dg.ResourceDefinition) -> Iterator[Any]:
    if is_object(definition):
        yield held_object(definition)
    elif resource_class(definition) is None:
        yield definition.resource_fn
    for resource in nested_in(definition).values():
        yield from _objects(as_definition(resource))


def _digest(value: Any) -> str | UnstableValueError:
    try:
        return stable_hash(value, substitute=_substitute)
    except UnstableValueError as error:
        return error


def _substitute(value: Any) -> Any:
    """Return plain data for what says itself what it is, and for what code versions cover."""
    if isinstance(value, type):
        return "class", _name(value)
    if callable(method := getattr(type(value), IDENTITY_METHOD, None)):
        return _name(type(value)), _said(method, value)
    if callable(secret := getattr(type(value), "get_secret_value", None)):
        return _name(type(value)), secret(value)
    if isinstance(value, types.FunctionType):
        held = inspect.getclosurevars(value).nonlocals
        return "function", _name(value), held, value.__defaults__, value.__kwdefaults__
    if isinstance(value, functools.partial):
        return "partial", value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return "method", value.__func__, value.__self__
    if isinstance(value, types.ModuleType):
        return "module", value.__name__
    if callable(inner := inspect.getattr_static(value, "__wrapped__", None)):
        return "wrapper", _name(type(value)), inner
    if isinstance(value, _BUILTINS):
        owner = getattr(value, "__self__", None)
        return "builtin", _name(value), None if isinstance(owner, types.ModuleType) else owner
    return NotImplemented


def _said(method: Any, value: Any) -> Any:
    try:
        return method(value)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UnstableValueError(
            f"{IDENTITY_METHOD}() of `{_name(type(value))}` failed: {what}."
        ) from error


def _name(thing: Any) -> str:
    kind = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"
