"""A stranger opens the right file first: no name stands for two things, no folder for too much."""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import data_pipeline

PACKAGE = Path(data_pipeline.__file__).parent
MOST_FILES = 14
_COMMANDS = PACKAGE / "cli" / "commands"  # are named like the commands
_PIPELINES = PACKAGE / "pipelines"  # projects of their own


def modules() -> Iterator[Path]:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "__init__.py" and _PIPELINES not in path.parents:
            yield path


def twice(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def test_no_two_modules_have_the_same_name() -> None:
    assert not twice(path.name for path in modules() if _COMMANDS not in path.parents)


def test_no_two_classes_have_the_same_name() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in modules()]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    assert not twice(node.name for node in nodes if isinstance(node, ast.ClassDef))


def test_no_folder_has_too_many_modules() -> None:
    counts = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in modules())
    assert not {folder: count for folder, count in counts.items() if count > MOST_FILES}


def test_the_reference_describes_what_is_there() -> None:
    pages = (PACKAGE.parent / "docs").rglob("*.md")
    texts = [page.read_text(encoding="utf-8") for page in pages]
    named = [name for text in texts for name in re.findall(r"^::: (\S+)", text, re.MULTILINE)]
    assert named
    assert not [name for name in named if not _defines(name)]


def _defines(name: str) -> bool:
    """Whether a dotted name is a module, or what a module defines itself."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    tree = ast.parse(path.parent.with_suffix(".py").read_text(encoding="utf-8"))
    return path.name in {getattr(node, "name", None) for node in tree.body}


def test_the_map_names_files_that_are_there() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    there = [f"/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*")]
    named = re.findall(r"`((?:\w+/)*\w+\.(?:py|yaml|sql))`", text)
    assert not [name for name in named if not any(path.endswith(f"/{name}") for path in there)]
