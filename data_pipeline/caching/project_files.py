"""The files of a project: below its folders, without the libraries that are installed there."""

import sysconfig
from collections.abc import Sequence
from pathlib import Path

_LIBRARIES = frozenset({"site-packages", "dist-packages"})
_STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_CHECKOUT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")


class ProjectFiles:
    """The source files below some folders."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._known: dict[Path, bool] = {}

    def holds(self, path: Path) -> bool:
        """Says whether a file belongs to the project; libraries in its folders do not."""
        if path not in self._known:
            self._known[path] = self._is_inside(path.resolve())
        return self._known[path]

    def _is_inside(self, path: Path) -> bool:
        for root in self._roots:
            if not path.is_relative_to(root) or _LIBRARIES & {*path.relative_to(root).parts}:
                continue
            standard = [folder for folder in _STANDARD if folder.is_relative_to(root)]
            if not any(path.is_relative_to(folder) for folder in standard):
                return True
        return False


def is_installed(roots: Sequence[Path]) -> bool:
    """Whether the default roots of a module are a library, or nothing at all."""
    return not roots or any(_LIBRARIES & {*root.parts} for root in roots)


def default_roots(name: str, path: Path) -> tuple[Path, ...]:
    """Gives the folders of the project that a module belongs to.

    That is the checkout around the module's root package, or the root package itself where it is
    installed as a library or there is no checkout.
    """
    depth = name.count(".") + (path.name == "__init__.py")
    parents = path.resolve().parents
    top = parents[min(depth, len(parents) - 1)]
    root = top / name.partition(".")[0] if depth else top
    if _LIBRARIES & {*root.parts}:
        return (root,)
    for folder in (top, *top.parents):
        if any((folder / mark).exists() for mark in _CHECKOUT_MARKS):
            return (folder,)
    return (root,)
