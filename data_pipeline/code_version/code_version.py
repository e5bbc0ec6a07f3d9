"""Code versions by themselves: the identity of the code that makes an asset, computed from it.

A code version covers the normalised syntax tree of the asset's function, of the resources that it
asks for, and of every function, class, constant and SQL file of the project that these reach;
comments, docstrings, formatting and unrelated code do not count. Packages beside the project count
like it where they are no libraries (editable mode, a monorepo), libraries by the versions of
tracked packages.

It does not see what code reads at run time: other files, environment variables, the clock, random
numbers, values that another program put in place. Assets that read such values and do not declare
it are reported as a warning, and so is code that it cannot follow (`exec`, computed names).
"""

import functools
import gc
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from data_pipeline.code_version.code_parts import CodePart, CodeParts
from data_pipeline.code_version.code_warnings import (
    takes_outside_input,
    warn_of_unresolved,
    warn_of_unseen_inputs,
)
from data_pipeline.code_version.live_code import (
    LiveCode,
    asked_resources,
    asset_functions,
    asset_structure,
    declared,
    declared_inputs,
    declared_versions,
    io_managers,
)
from data_pipeline.code_version.normalised_syntax import digest
from data_pipeline.code_version.project_code import (
    Definition,
    External,
    Package,
    ProjectCode,
    Target,
    WholeModule,
    default_roots,
    is_installed,
    tracked_by_module,
)
from data_pipeline.code_version.reference_targets import SqlFile, Warned
from data_pipeline.code_version.resource_definitions import (
    as_definition,
    held_object,
    is_object,
    nested_in,
    resource_class,
)

if TYPE_CHECKING:
    from data_pipeline.code_version.nondeterminism import ValueRead


def resource_code(keys: Iterable[str], resources: Mapping[str, Any]) -> Iterator[Any]:
    """Return the classes, functions and objects of resources, and of those that they make use of.

    Our own are left out: what an asset can see of them is the instance.

    Args:
        keys: The resources that are asked for.
        resources: All resources, by key.
    """
    seen: set[int] = set()
    stack = [as_definition(resources[key]) for key in sorted(keys) if key in resources]
    while stack:
        definition = stack.pop()
        if id(definition) in seen:
            continue
        seen.add(id(definition))
        entry = _entry(definition)
        if "chooses_instance_by" not in getattr(entry, "__dict__", ()):
            yield entry
        stack += map(as_definition, nested_in(definition).values())
        required = sorted(definition.required_resource_keys)
        stack += [as_definition(resources[key]) for key in required if key in resources]


def _entry(definition: dg.ResourceDefinition) -> Any:
    if is_object(definition):
        return held_object(definition)
    return resource_class(definition) or definition.resource_fn


Packages = Mapping[str, str] | Sequence[str]


@dataclass(frozen=True)
class CodeVersion:
    """The identity of the code that makes an asset.

    Attributes:
        version: A short hash of all parts, or the asset's explicit code version.
        parts: For each function, class, constant, SQL file and package that the code reaches, by
            its name (`package.module.parse_wind`): its kind and a hash. Empty for an explicit
            version.
        unresolved: What the version does not cover: where (`file:line`), and what.
        reads: The values that the code reads when it runs: where, and what.
    """

    version: str
    parts: Mapping[str, str] = field(default_factory=dict)
    unresolved: Sequence[tuple[str, str]] = ()
    reads: Sequence[tuple[str, str]] = ()


def code_version_of(
    asset: dg.AssetsDefinition | Callable[..., Any],
    *,
    project_roots: Sequence[Path] | None = None,
    tracked_packages: Packages = (),
    resources: Mapping[str, Any] | None = None,
) -> CodeVersion:
    """Compute the code version of an asset or of any function, whatever it declares.

    Args:
        asset: The asset, or a function.
        project_roots: Folders whose code counts; default: the checkout that the function's module
            is in, or its root package where there is none.
        tracked_packages: Libraries whose versions count for code that uses them; versions can be
            given, others are those installed.
        resources: The resources by key, as `dg.Definitions` takes them: the classes and functions
            of those that the asset asks for count.

    Raises:
        ConfigurationError: A source file has changed since it was imported, or cannot be read; or a
            tracked package has no usable version.
    """
    return _Computation(project_roots, tracked_packages, resources).version(asset)


def code_versions(
    assets: Sequence[dg.AssetsDefinition],
    *,
    project_roots: Sequence[Path] | None = None,
    tracked_packages: Packages = (),
    resources: Mapping[str, Any] | None = None,
    raw: Collection[str] = (),
) -> dict[dg.AssetKey, CodeVersion]:
    """Return the code version of every asset: its explicit one, or else one computed from its code.

    Arguments and errors are those of `code_version_of`; `raw` names the raw tables, which take
    input from outside whatever they declare.

    Warns:
        UnresolvedCodeWarning: Once for each place that a computed version does not cover.
        UnseenInputWarning: Once for each place where code reads a value that no version can tell,
            for an asset that does not declare input from outside.
    """
    computation = _Computation(project_roots, tracked_packages, resources)
    versions: dict[dg.AssetKey, CodeVersion] = {}
    with _no_collection():
        for asset in assets:
            specs = [spec for spec in asset.specs if spec.code_version is None]
            computed = computation.version(asset) if specs and asset.is_executable else None
            for spec in asset.specs:
                if spec.code_version is not None:
                    versions[spec.key] = CodeVersion(spec.code_version)
                elif computed is not None:
                    versions[spec.key] = computed
    unresolved = {key: version.unresolved for key, version in versions.items()}
    warn_of_unresolved(unresolved, stacklevel=2)
    unseen = [asset for asset in assets if not takes_outside_input(asset, raw)]
    keys = [key for asset in unseen for key in asset.keys if key in versions]
    warn_of_unseen_inputs({key: versions[key].reads for key in keys}, stacklevel=2)
    return versions


def check_code_versions(
    checks: Sequence[dg.AssetChecksDefinition],
    *,
    tracked_packages: Packages = (),
    resources: Mapping[str, Any] | None = None,
) -> dict[dg.AssetCheckKey, str]:
    """Return the code version of every check, with the arguments and errors of `code_version_of`.

    Use it for checks apart from assets; those within are code of their assets. Of checks that this
    package makes, the code of their own folder counts, with what they were given.
    """
    by_roots: dict[Path | None, _Computation] = {}

    def version(check: dg.AssetChecksDefinition) -> str:
        root = next(filter(None, map(_own_folder, asset_functions(check).values())), None)
        if root not in by_roots:
            by_roots[root] = _Computation([root] if root else None, tracked_packages, resources)
        return by_roots[root].version(check).version

    with _no_collection():
        versions = [(check, version(check)) for check in checks]
    return {key: version for check, version in versions for key in check.check_keys}


def _own_folder(function: Callable[..., Any]) -> Path | None:
    """Return the folder of a function of this package that is no pipeline; None for others."""
    name, file = _place(function)
    is_own = name.startswith("data_pipeline.") and not name.startswith("data_pipeline.pipelines.")
    return Path(file).parent if is_own and file else None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector away for a moment.

    Syntax trees are many objects; a collection among them would walk through all that Dagster and
    pandas hold, which takes longer than the versions.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Reads:
    """The values that the parts of some code read when they run."""

    def __init__(self) -> None:
        self._found: dict[ValueRead, None] = {}
        self._seeds: set[str] = set()
        self.definition = False
        """Whether they read what the definition of their asset says."""

    def add(self, part: CodePart) -> None:
        self.definition |= part.reads_definition
        self._found.update(dict.fromkeys(part.reads))
        self._seeds |= part.seeds

    def uncertain(self) -> list[tuple[str, str]]:
        """Return where, and what; not the random numbers of a generator that gets a seed."""
        kept = [item for item in self._found if item.generator not in self._seeds]
        return [(item.place, item.what) for item in kept]


class _Computation:
    """Computes code versions; what several assets reach is looked at once."""

    def __init__(
        self,
        roots: Sequence[Path] | None,
        packages: Packages,
        resources: Mapping[str, Any] | None,
    ) -> None:
        self._resources = resources or {}
        self._roots = None if roots is None else tuple(roots)
        self._packages = tracked_by_module(packages)
        self._code: dict[tuple[Path, ...], CodeParts] = {}
        self._default_roots: dict[tuple[str, str], tuple[Path, ...]] = {}

    def version(self, asset: dg.AssetsDefinition | Callable[..., Any]) -> CodeVersion:
        if not isinstance(asset, dg.AssetsDefinition):
            return self._traced([asset])
        known = {**self._resources, **asset.resource_defs}
        asked = asked_resources(asset)
        resources = [(item, False) for item in resource_code(asked, known)]
        resources += [(item, True) for item in resource_code(io_managers(asset) - asked, known)]
        functions = list(asset_functions(asset).values())
        ops = {
            f"op {name}": f"op {digest(version)}"
            for name, version in declared_versions(asset).items()
        }
        return self._traced(functions, asset, resources, ops)

    def _traced(
        self,
        entries: Sequence[Callable[..., Any]],
        asset: dg.AssetsDefinition | None = None,
        resources: Sequence[tuple[Any, bool]] = (),
        ops: Mapping[str, str] | None = None,
    ) -> CodeVersion:
        parts = dict(ops or {})
        warned: dict[Warned, None] = {}
        reads = _Reads()
        if asset is not None and (structure := asset_structure(asset)):
            parts["graph"] = f"graph {digest(*structure)}"
        for entry in entries:
            code = self._parts_for(entry)
            live = LiveCode(code)
            live.follow(entry)
            self._reached(code, list(live.found.values()), parts, warned, reads)
        for resource, is_io_manager in resources:
            code = self._parts_for_resource(resource, entries)
            live = LiveCode(code)
            live.follow_resource(resource)
            # What an IO manager reads is what it has stored.
            seen = _Reads() if is_io_manager else reads
            self._reached(code, list(live.found.values()), parts, warned, seen)
            self._add_package(External(_defining(resource).__module__ or ""), parts)
        if asset is not None:
            code = self._parts_for(entries[0])
            live = LiveCode(code)
            for name, said in declared_inputs(asset).items():
                live.hold("the asset", f"input `{name}`", said)
            if reads.definition:
                live.hold("the asset", "its definition", declared(asset))
            self._reached(code, list(live.found.values()), parts, warned, reads)
        ordered = dict(sorted(parts.items()))
        version = digest(*(f"{name} {said}" for name, said in ordered.items()))
        unresolved = [(item.place, item.what) for item in warned]
        return CodeVersion(version, ordered, unresolved, reads.uncertain())

    def _parts_for(self, entry: Any) -> CodeParts:
        return self._parts_below(self._roots_of(entry) if self._roots is None else self._roots)

    def _parts_for_resource(self, resource: Any, entries: Sequence[Any]) -> CodeParts:
        """Return the code that a resource may be part of: not that of a library."""
        if self._roots is None and not is_installed(own := self._roots_of(_defining(resource))):
            return self._parts_below(own)
        return self._parts_for(entries[0])

    def _roots_of(self, entry: Any) -> tuple[Path, ...]:
        place = _place(entry)
        if place not in self._default_roots:
            name, file = place
            self._default_roots[place] = default_roots(name, Path(file)) if file else ()
        return self._default_roots[place]

    def _parts_below(self, roots: tuple[Path, ...]) -> CodeParts:
        if roots not in self._code:
            with_sources = self._roots is None and not is_installed(roots)
            code = ProjectCode(roots, with_sources=with_sources, libraries=self._packages)
            self._code[roots] = CodeParts(code)
        return self._code[roots]

    def _reached(
        self,
        code: CodeParts,
        start: Sequence[CodePart],
        parts: dict[str, str],
        warned: dict[Warned, None],
        reads: "_Reads",
    ) -> None:
        """Add the parts that one leads to, each once, and those that lead on from there."""
        seen: set[tuple[Target | SqlFile, bool]] = set()
        stack: list[tuple[CodePart, bool]] = [(part, False) for part in reversed(start)]
        while stack:
            part, telling_type = stack.pop()
            if not telling_type or part.kind == "class":
                telling_type = False
                _add(parts, part.name, f"{part.kind} {part.digest}")
                warned.update(dict.fromkeys(part.warned))
                reads.add(part)
            for target, annotation in part.follows:
                if isinstance(target, External) and not self._packages:
                    continue
                step = (target, annotation or telling_type)
                if step in seen or (target, False) in seen:
                    continue
                seen.add(step)
                if isinstance(target, External):
                    self._add_package(target, parts)
                elif isinstance(target, Definition | WholeModule | SqlFile):
                    stack.append((code.part(target), step[1]))

    def _add_package(self, target: External, parts: dict[str, str]) -> None:
        package: Package | None = self._packages.get(target.name.partition(".")[0])
        if package is not None:
            parts[package.name] = f"package {package.version}"


def _add(parts: dict[str, str], name: str, said: str) -> None:
    if parts.setdefault(name, said) != said:
        # A function in memory, and what its name means in the source.
        parts[name] = f"{said.rpartition(' ')[0]} {digest(parts[name], said)}"


def _defining(resource: Any) -> Any:
    """Return the class or function that makes a resource what it is."""
    named = (type, types.FunctionType, types.MethodType, functools.partial)
    return resource if isinstance(resource, named) else type(resource)


def _place(entry: Any) -> tuple[str, str]:
    """Return module and file of a function, or of what else can be called; empty without a file."""
    if isinstance(entry, type):
        return entry.__module__, getattr(sys.modules.get(entry.__module__), "__file__", None) or ""
    function = _plain_function(entry)
    return (function.__module__, function.__code__.co_filename) if function else ("", "")


def _plain_function(entry: Any) -> Any:
    """Return the function behind a partial, a wrapper, a method or an object that can be called."""
    while not hasattr(entry, "__code__"):
        inner = (
            getattr(entry, "func", None)
            or getattr(entry, "__wrapped__", None)
            or getattr(entry, "__func__", None)
            or getattr(type(entry), "__call__", None)  # noqa: B004  # its function is wanted
        )
        if inner is None or inner is entry or not callable(inner):
            return None
        entry = inner
    return entry
