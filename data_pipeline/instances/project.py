"""WHOSE project? The module in use, its folder, its configuration file and its commands.

A project is the folder with the `pyproject.toml` (or the like) around the module that Dagster
loads. The command line says which module that is; else it is the one that first calls this package.
"""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.instances.code_location import LIBRARIES, CodeModule, at_path, code_modules

CONFIGURATION = "instances.yaml"
SHIPPED = Path(__file__).resolve().parents[1] / CONFIGURATION
"""The configuration of the pipelines that come along."""

_PACKAGE = SHIPPED.parent
_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", "workspace.yaml", "dg.toml")
_HOME = ".data_pipeline"
_LOADERS = frozenset({"dagster", "dagster_dg_core", "dagster_dg_cli", "_pytest", "pluggy"})


@dataclass
class _InUse:
    """What this process works on.

    Attributes:
        chosen: The module that a command works on.
        given: What the user wrote behind -m.
        caller: The module that called first; its name is empty for a script or a test.
    """

    chosen: CodeModule | None = None
    given: str | None = None
    caller: CodeModule | None = None


_in_use = _InUse()


@contextmanager
def working_on(module: CodeModule, given: str | None = None) -> Iterator[None]:
    """Let all that is looked up meanwhile be that of a module's project.

    Args:
        module: The module.
        given: What the user wrote behind -m, which commands in messages repeat.
    """
    before = _in_use.chosen, _in_use.given
    _in_use.chosen, _in_use.given = module, given
    try:
        yield
    finally:
        _in_use.chosen, _in_use.given = before


def note_caller() -> None:
    """Remember whose module calls this package, for what is looked up when it is not there."""
    if _in_use.caller is None:
        _in_use.caller = _caller()


def root(start: Path | None = None) -> Path | None:
    """Return the folder of the project: that of the module in use, else of the current directory.

    Args:
        start: A folder in the project; None: that of the module in use.
    """
    if start is not None:
        return _marked(start, _MARKS) or _outside(_marked(start, (CONFIGURATION,)))
    module = _module()
    own = root(module.file.parent) if module and module.file and not module.is_library else None
    return own or root(Path.cwd().resolve()) or _checkout()


def home() -> Path:
    """Return the default of `DATA_PIPELINE_HOME`: `.data_pipeline/` in the project.

    One that is there already in the current directory, or between it and the project, goes on.
    """
    here = Path.cwd()
    project = root() or here
    nearer = _up_to(here, project) if here.is_relative_to(project) else ()
    found = next((folder for folder in nearer if (folder / _HOME).is_dir()), project)
    return found / _HOME


def configuration_file(variables: Mapping[str, str]) -> Path | None:
    """Return the configuration file that is in force; None where the project has none.

    `DATA_PIPELINE_CONFIG`, else `instances.yaml` in the current directory or beside the module, or
    further up in the project of either. A module in another project has its own one first: so a
    server that loads several projects mixes none up.
    """
    if chosen := variables.get("DATA_PIPELINE_CONFIG"):
        return Path(chosen).expanduser().absolute()
    return next((file for file in places() if file.is_file()), None)


def places() -> list[Path]:
    """Return where a configuration file is looked for, the first place first."""
    here, module = Path.cwd().resolve(), _module()
    folders = [*_up_to(here, root(here))]
    if module is not None and module.file is not None:
        start = module.file.parent
        project = None if module.is_library else root(start)
        beside = [*_up_to(start, project or _top_package(module))]
        elsewhere = project is not None and not (
            here.is_relative_to(project) or project.is_relative_to(here)
        )
        folders = [*beside, *folders] if elsewhere else [*folders, *beside]
    return [folder / CONFIGURATION for folder in dict.fromkeys(folders)]


def url_places() -> str:
    """Return where the URL of the database can be set, for messages."""
    return f"`table_store_connections` in {configuration_name()}, or DATA_PIPELINE_DATABASE_URL"


def configuration_name() -> str:
    """Return the configuration file in force, for messages that have no instance at hand."""
    return str(configuration_file(os.environ) or SHIPPED)


def is_own(module: CodeModule | None) -> bool:
    """Whether a module is one of this package or of its checkout, whose configuration it shares."""
    if module is None or module.file is None or module.file.is_relative_to(_PACKAGE):
        return True
    checkout = _checkout()
    return checkout is not None and root(module.file.parent) == checkout


def module_in_use() -> CodeModule | None:
    """Return the module that Dagster loads; None where nothing tells it."""
    if _in_use.chosen is not None:
        return _in_use.chosen
    project, caller = root(), _in_use.caller
    configured = code_modules(project) if project else []
    named = caller if caller and caller.name else None
    loaded = [module for module in configured if module.is_loaded]
    if loaded or named:
        return loaded[0] if loaded else named
    script = caller if caller and caller.by_file else None
    return next(iter(configured), script)


def build_command(instance: str) -> str:
    """Return the shell command that builds an instance of the project."""
    module = module_in_use()
    options = module.options if module else "-m YOUR_MODULE"
    return f"dagster job execute {options} -j {shlex.quote(instance)}"


def command(*words: str) -> str:
    """Return a command of `data-pipeline` as the user of this project writes it."""
    given, module = _in_use.given, _in_use.chosen
    if module is None and (module := module_in_use()) is not None:
        found = any(str(module) == str(other) for other in code_modules(Path.cwd().resolve()))
        given = None if found else str(module)
    return shlex.join(["data-pipeline", *(["-m", given] if given else []), *words])


def _module() -> CodeModule | None:
    return _in_use.chosen or _in_use.caller


def _checkout() -> Path | None:
    """Return the checkout that this package lies in, if it is not installed as a library."""
    folder = _PACKAGE.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def _marked(start: Path, marks: tuple[str, ...]) -> Path | None:
    folders = (start, *start.parents)
    return next((item for item in folders if any((item / mark).exists() for mark in marks)), None)


def _outside(folder: Path | None) -> Path | None:
    """Return the folder around the package that a folder is or lies in."""
    while folder is not None and (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def _up_to(start: Path, end: Path | None) -> Iterator[Path]:
    for folder in (start, *start.parents):
        yield folder
        if end is None or folder == end:
            return


def _top_package(module: CodeModule) -> Path | None:
    return module.folder and module.folder / module.name.partition(".")[0]


def _caller() -> CodeModule | None:
    """Return the module whose import or function has led to this call.

    That is the outermost one below what loads modules: the others are parts of its project.
    """
    found: list[tuple[str, Path]] = []
    frame = sys._getframe(1)
    while frame is not None:
        name, file = frame.f_globals.get("__name__", ""), frame.f_globals.get("__file__")
        if name.partition(".")[0] in _LOADERS:
            if found:
                break
        elif file and _is_of_a_user(name, Path(file)):
            found.append((name, Path(file).resolve()))
        frame = frame.f_back  # type: ignore[assignment] # None at the end
    own = [item for item in found if not LIBRARIES & {*item[1].parts}] or found
    loadable = [item for item in own if not _is_script_or_test(*item)]
    if loadable:
        return _imported(*loadable[-1])
    script = [file for name, file in own if name in ("__main__", "__mp_main__")]
    if script:
        return at_path(script[-1])
    return CodeModule("", own[-1][1]) if own else None


def _is_of_a_user(name: str, file: Path) -> bool:
    top, _, rest = name.partition(".")
    if name == "__main__" and file.absolute().parent in (Path(sys.executable).parent, _PACKAGE):
        return False  # a program that is installed beside Python
    ours = top == "data_pipeline" and rest.partition(".")[0] not in ("pipelines", "definitions")
    return not ours and top not in sys.stdlib_module_names


def _is_script_or_test(name: str, file: Path) -> bool:
    stem = file.stem
    return name in ("__main__", "__mp_main__") or (
        stem.startswith("test_") or stem.endswith("_test") or stem == "conftest"
    )


def _imported(name: str, file: Path) -> CodeModule:
    """Return the module of a name, or of a path where its name does not lead to it."""
    depth = name.count(".") + (file.name == "__init__.py")
    folder = file.parents[depth] if depth < len(file.parents) else file.parent
    parts = file.with_suffix("").relative_to(folder).parts
    is_named = ".".join(parts).removesuffix(".__init__") == name
    return CodeModule(name, file, folder) if is_named else at_path(file)
