"""The parts that code is made of: each with a hash of what it says, and what it refers to."""

import ast
import copy
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from data_pipeline.code_version.changed_elsewhere import (
    DEFINITIONS,
    ChangedElsewhere,
    notices_heirs,
)
from data_pipeline.code_version.module_source import Binding
from data_pipeline.code_version.names_used import FUNCTIONS, Reference, chain, references
from data_pipeline.code_version.nondeterminism import (
    ValueRead,
    files_read,
    generators_seeded,
    values_read,
)
from data_pipeline.code_version.normalised_syntax import digest, normalised
from data_pipeline.code_version.own_names import part_name
from data_pipeline.code_version.project_code import (
    Definition,
    External,
    Module,
    ProjectCode,
    Target,
    Unresolved,
    WholeModule,
)
from data_pipeline.code_version.reference_targets import (
    ReferenceTargets,
    SqlFile,
    Warned,
    described,
    kind_of,
)
from data_pipeline.code_version.value_origins import Origins


@dataclass(frozen=True)
class CodePart:
    """A function, class, constant, module or file.

    Attributes:
        name: A readable name: module and name.
        kind: Which of these it is.
        digest: A hash of what it says, and of what its names mean.
        follows: What it refers to, and whether only to tell a type.
        warned: What it refers to that the source does not tell.
        reads: The values that it reads when it runs.
        seeds: The generators of random numbers that it gives a seed.
        reads_definition: Whether it reads what the definition of an asset says, by its context.
    """

    name: str
    kind: str
    digest: str
    follows: tuple[tuple[Target | SqlFile, bool], ...] = ()
    warned: tuple[Warned, ...] = ()
    reads: tuple[ValueRead, ...] = ()
    seeds: frozenset[str] = frozenset()
    reads_definition: bool = False


class _Done:
    """What is done to a definition by other statements than its own."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._follows: list[tuple[Target | SqlFile, bool]] = []
        self._warned: list[Warned] = []
        self._reads: list[ValueRead] = []

    def add_definition(self, target: Definition) -> None:
        self._follows.append((target, False))
        self._said.append(described(target))

    def add_code(self, part: CodePart) -> None:
        self._follows += part.follows
        self._said.append(part.digest)
        self._warned += part.warned
        self._reads += part.reads

    def added_to(self, part: CodePart) -> CodePart:
        if not self._said:
            return part
        return replace(
            part,
            digest=digest(part.digest, *sorted(self._said)),
            follows=(*part.follows, *self._follows),
            warned=tuple(dict.fromkeys([*part.warned, *self._warned])),
            reads=tuple(dict.fromkeys([*part.reads, *self._reads])),
        )


_Place = tuple[str, str, str, tuple[int, ...], frozenset[str], bool]


class CodeParts:
    """Gives the parts of a project's code, each computed once."""

    def __init__(self, project: ProjectCode) -> None:
        self.project = project
        self._known: dict[Target | SqlFile, CodePart] = {}
        self._of_functions: dict[_Place, CodePart] = {}
        self._given: dict[tuple[str, int], set[str]] = {}
        self._elsewhere = ChangedElsewhere(project)

    def part(self, target: Definition | WholeModule | SqlFile) -> CodePart:
        """Return the part that a reference leads to."""
        if target not in self._known:
            if isinstance(target, Definition):
                self._known[target] = self._definition(target)
            elif isinstance(target, WholeModule):
                self._known[target] = self._whole(target)
            else:
                text = target.path.read_text(encoding="utf-8")
                self._known[target] = CodePart(target.name, "SQL file", digest(text))
        return self._known[target]

    def of_function(
        self,
        module: Module,
        name: str,
        kind: str,
        nodes: Sequence[ast.AST],
        *,
        closure: frozenset[str],
        annotations: bool,
    ) -> CodePart:
        """Return the part of a function or class, which many assets may share: a factory's.

        Arguments are those of `code`. The nodes are some of the module's tree, which stays.
        """
        place = (module.name, name, kind, tuple(map(id, nodes)), closure, annotations)
        if place not in self._of_functions:
            self._of_functions[place] = self.code(
                module, name, kind, nodes, closure=closure, annotations=annotations
            )
        return self._of_functions[place]

    def code(
        self,
        module: Module,
        name: str,
        kind: str,
        nodes: Sequence[ast.AST],
        *,
        closure: Collection[str] = (),
        annotations: bool = False,
        texts: Iterable[str] = (),
    ) -> CodePart:
        """Return the part of some code.

        Args:
            module: The module that it stands in.
            name: The name of the part.
            kind: The kind of the part.
            nodes: The code.
            closure: Names that functions around it bind.
            annotations: Whether annotations count although it has no decorators.
            texts: Anything else that counts.
        """
        kept = [self._undecorated(module, node) for node in nodes]
        found = references(kept, closure=closure, annotations=annotations)
        targets = ReferenceTargets(self.project, module, self._elsewhere.heirs)
        for reference in found:
            targets.add(reference)
        for extension in self._extensions(kept):
            targets.follows.append((extension, False))
        said = [normalised(node, annotations=annotations) for node in kept]
        reads: list[ValueRead] = []
        if module.source is not None and not _is_ours(module):
            path, origins = module.source.path, Origins(self.project, module, kept, found)
            reads += values_read(path, targets.outside, origins)
            reads += files_read(path, origins) if module.source.may_read_files else []
        return CodePart(
            name,
            kind,
            digest(*texts, *said, *sorted(targets.edges)),
            tuple(dict.fromkeys(targets.follows)),
            tuple(dict.fromkeys(targets.warned)),
            tuple(dict.fromkeys(reads)),
            generators_seeded(targets.outside),
            any(map(_reads_definition, kept)),
        )

    def _extensions(self, nodes: Sequence[ast.AST]) -> Iterator[Definition]:
        """Return what may give objects of libraries an attribute that code uses."""
        if found := self._elsewhere.extensions:
            for node in nodes:
                for item in ast.walk(node):
                    yield from found.get(getattr(item, "attr", ""), ())

    def given_to_libraries(self, module: Module, node: ast.AST) -> set[str]:
        """Return the names in the arguments of a function's decorators from outside the project."""
        place = module.name, id(node)
        if place in self._given:
            return self._given[place]
        names = self._given[place] = set[str]()
        for decorator in getattr(self._undecorated(module, node), "decorator_list", []):
            if isinstance(decorator, ast.Call) and self._is_of_library(module, decorator.func):
                arguments = [*decorator.args, *(item.value for item in decorator.keywords)]
                names |= {reference.name for reference in references(arguments)}
        return names

    def _is_of_library(self, module: Module, function: ast.expr) -> bool:
        """Whether a decorator is one of a library other than Dagster: what that gets is known."""
        root, attributes = chain(function)
        if not isinstance(root, ast.Name):
            return False
        reference = Reference(root.id, attributes, root.lineno)
        found = self.project.resolve(module, reference)
        return any(isinstance(item, External) and not _is_dagster(item) for item in found)

    def _definition(self, target: Definition) -> CodePart:
        module = self.project.module(target.module)
        assert module is not None  # noqa: S101  # the project found it there
        assert module.source is not None  # noqa: S101
        bindings = [item for item in module.source.bindings[target.name] if not item.imported]
        nodes = [node for binding in bindings for node in (*_conditions(binding), *binding.nodes)]
        labels = [f"{label}" for binding in bindings for label, _ in binding.headers]
        name = part_name(target.module, target.name)
        kind = kind_of(bindings)
        part = self.code(module, name, kind, nodes, texts=labels)
        fixed = kind != "constant" or all(_is_fixed(binding) for binding in bindings)
        part = part if fixed else self._filled(target, part)
        return self._changed(target, part, nodes if kind == "class" else [])

    def _filled(self, table: Definition, part: CodePart) -> CodePart:
        """Add to a constant what functions put into it while modules are imported."""
        done = _Done()
        for filler in self._elsewhere.fillers(table):
            done.add_definition(filler)
            self._add_calls(done, filler, part.name)
        return done.added_to(part)

    def _add_calls(self, done: _Done, filler: Definition, name: str) -> None:
        for module, statement in self._elsewhere.calls(filler):
            if isinstance(statement, DEFINITIONS):
                done.add_definition(Definition(module.name, statement.name))
            else:
                done.add_code(self.code(module, name, "constant", [statement]))

    def _changed(self, target: Definition, part: CodePart, classes: Sequence[ast.AST]) -> CodePart:
        """Add what other modules do to a definition, and what is derived from a class."""
        done = _Done()
        for module, binding in self._elsewhere.changes(target):
            made = [node for node in binding.nodes if isinstance(node, DEFINITIONS)]
            if made:
                maker = Definition(module.name, made[0].name)
                done.add_definition(maker)
                if not binding.registered:
                    self._add_calls(done, maker, part.name)
                continue
            nodes = [*_conditions(binding), *binding.nodes]
            labels = [label for label, _ in binding.headers]
            done.add_code(self.code(module, part.name, "constant", nodes, texts=labels))
        if any(map(notices_heirs, classes)):
            for heir in self._elsewhere.heirs(target):
                done.add_definition(heir)
        return done.added_to(part)

    def _whole(self, target: WholeModule) -> CodePart:
        module = self.project.module(target.name)
        if module is None or module.source is None:
            return CodePart(target.name, "module", digest(""))
        part = self.code(module, target.name, "module", module.source.tree.body)
        imports = [
            found
            for bindings in module.source.bindings.values()
            for binding in bindings
            if binding.imported is not None
            for found in self.project.imported(module, binding.imported)
        ]
        follows = [(found, False) for found in imports if not isinstance(found, Unresolved)]
        return replace(part, follows=(*part.follows, *follows))

    def _undecorated(self, module: Module, node: ast.AST) -> ast.AST:
        """Return a function without the decorators of Dagster and of stages, and what is above.

        They say how its asset is shown and scheduled; those below change the function. All stay
        where the function asks for them: metadata, tags.
        """
        if not isinstance(node, FUNCTIONS) or _reads_definition(node):
            return node
        first = 0
        for number, decorator in enumerate(node.decorator_list, start=1):
            root, attributes = chain(getattr(decorator, "func", decorator))
            if isinstance(root, ast.Name):
                reference = Reference(root.id, attributes, root.lineno)
                found = self.project.resolve(module, reference)
                if any(map(_is_dagster, found)) or _is_of_stage(module, root.id, attributes):
                    first = number
        if first:
            node = copy.copy(node)
            node.decorator_list = node.decorator_list[first:]
        return node


def _reads_definition(node: ast.AST) -> bool:
    """Whether code reads what the decorators of an asset say, by the context of its step."""
    return any(_is_definition(item) for item in ast.walk(node) if isinstance(item, ast.Attribute))


def _is_definition(node: ast.Attribute) -> bool:
    is_tags = node.attr == "tags" and getattr(node.value, "attr", None) == "op"
    return is_tags or node.attr in _DEFINITION


_DEFINITION = frozenset({"assets_def", "job_def", "op_def", "repository_def"})


def _is_ours(module: Module) -> bool:
    """Whether a module is this package's own, apart from pipelines.

    What it reads counts in other ways: the configuration as attrs, SQL files by what they say.
    """
    top, _, rest = module.name.partition(".")
    return top == __name__.partition(".")[0] and rest.partition(".")[0] != "pipelines"


def _is_fixed(binding: Binding) -> bool:
    """Say whether a binding gives a value that nothing can change: a literal number or text."""
    value = getattr(binding.nodes[0], "value", None)
    return isinstance(value, ast.Constant)


def _conditions(binding: Binding) -> list[ast.AST]:
    return [node for _, nodes in binding.headers for node in nodes]


def _is_of_stage(module: Module, name: str, attributes: Sequence[str]) -> bool:
    """Say whether a decorator is one of a stage, `clean.table`, as far as the module is loaded."""
    if not attributes:
        return False
    value: object = sys.modules.get(module.name)
    for step in (name, *attributes[:-1]):
        value = getattr(value, step, None)
    return getattr(type(value), "decorates_assets", False) is True


def _is_dagster(target: Target) -> bool:
    return isinstance(target, External) and target.name.partition(".")[0] == "dagster"
