"""The normalised text of a syntax tree: what the code says, however it is written down.

It has no comments, docstrings, formatting or positions, and is the same in every version of Python
that the package supports: `ast.dump` is not, since nodes gain fields.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator

_IGNORED = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
_ANNOTATIONS = frozenset({"annotation", "returns"})
_BLOCKS = frozenset({"body", "orelse", "finalbody"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_Piece = str | tuple[ast.AST, bool, bool]


def normalised(node: ast.AST, *, annotations: bool = False) -> str:
    """Return the normalised text of a tree; equal texts mean equal code.

    Annotations count where something reads them: in class bodies (fields of dataclasses) and in
    decorated functions. Elsewhere they are left out.

    Args:
        node: A statement, an expression or a module.
        annotations: Whether annotations count although `node` is a function without decorators.
    """
    pieces: list[str] = []
    # A stack of its own: long expressions nest deeper than Python lets functions call each other.
    stack: list[_Piece] = [(node, False, annotations)]
    while stack:
        piece = stack.pop()
        if isinstance(piece, str):
            pieces.append(piece)
        else:
            stack.extend(reversed(_pieces(*piece)))
    return "".join(pieces)


def digest(*texts: str) -> str:
    """Return a short hash of texts: 16 hexadecimal digits."""
    content = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        content.update(len(data).to_bytes(8, "big") + data)
    return content.hexdigest()[:16]


def unquoted(annotation: ast.expr) -> ast.expr:
    """Return the expression of an annotation that is written as a string; others as they are."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            return ast.parse(annotation.value.strip(), mode="eval").body
        except SyntaxError:
            return annotation
    return annotation


def _pieces(node: ast.AST, in_class: bool, annotations: bool) -> list[_Piece]:
    """Return text and further nodes that make up a node, in order.

    Args:
        node: The node.
        in_class: Whether it stands directly in the body of a class.
        annotations: Whether the annotations of its arguments and results count.
    """
    if isinstance(node, ast.Constant):
        return [f"{type(node.value).__name__}:{_constant(node.value)}"]
    if isinstance(node, ast.Name):
        return [f"Name({node.id})"]
    if isinstance(node, ast.JoinedStr):
        return list(_formatted_text(node, in_class, annotations))
    if isinstance(node, ast.AnnAssign) and not in_class:
        # Like the same statement without its annotation.
        node = ast.Assign([node.target], node.value)  # type: ignore[arg-type] # dropped if None
    if isinstance(node, _FUNCTIONS):
        in_class, annotations = False, annotations or bool(node.decorator_list)
    elif isinstance(node, ast.ClassDef):
        in_class = True
    pieces: list[_Piece] = [f"{type(node).__name__}("]
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in _IGNORED:
            continue
        if name in _ANNOTATIONS and not isinstance(node, ast.AnnAssign):
            if not annotations:
                continue
            value = unquoted(value)
        if name in _BLOCKS and isinstance(value, list):
            pieces.extend(_statements(name, value, in_class, annotations))
            continue
        pieces.append(f"{name}=")
        _add_field(pieces, value, in_class, annotations)
    pieces.append(")")
    return pieces


def _add_field(pieces: list[_Piece], value: object, in_class: bool, annotations: bool) -> None:
    if isinstance(value, ast.AST):
        pieces.append((value, in_class, annotations))
    elif isinstance(value, list):
        pieces.append("[")
        for item in value:
            _add_field(pieces, item, in_class, annotations)
            pieces.append(",")
        pieces.append("]")
    else:
        pieces.append(_constant(value))


def _statements(
    name: str, statements: Iterable[ast.stmt], in_class: bool, annotations: bool
) -> Iterator[_Piece]:
    """Return a block without statements that do nothing, and with its imports in order."""
    yield f"{name}=["
    imports: list[str] = []
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imports += _imports(statement)
            continue
        yield from sorted(imports)
        imports = []
        if not _does_nothing(statement, in_class):
            yield statement, in_class, annotations
            yield ","
    yield from sorted(imports)
    yield "]"


def _does_nothing(statement: ast.stmt, in_class: bool) -> bool:
    """Say whether a statement is a docstring or the like, `pass`, or an annotation alone."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None and not in_class
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass)


def _imports(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    source = ""
    if isinstance(statement, ast.ImportFrom):
        source = "." * statement.level + (statement.module or "") + ":"
    for alias in statement.names:
        yield f"import {source}{alias.name} as {alias.asname or alias.name};"


def _formatted_text(node: ast.JoinedStr, in_class: bool, annotations: bool) -> Iterator[_Piece]:
    """Return an f-string; versions of Python cut the text between its fields differently."""
    yield "JoinedStr["
    text = ""
    for value in node.values:
        if isinstance(value, ast.Constant):
            text += str(value.value)
            continue
        yield f"{_constant(text)},"
        text = ""
        yield value, in_class, annotations
    yield f"{_constant(text)}]"


def _constant(value: object) -> str:
    # `repr` of a text depends on what Python's Unicode tables call printable, and that of an
    # integer refuses very long ones.
    if isinstance(value, int) and not isinstance(value, bool):
        return hex(value)
    return ascii(value)
