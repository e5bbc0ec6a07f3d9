"""The project that a command works on: its configuration, and the definitions in its module."""

import os
import re
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from data_pipeline.errors import ConfigurationError, DataPipelineError, DefinitionsError
from data_pipeline.instances import project
from data_pipeline.instances.code_location import CodeModule, at_path, code_modules, named

if TYPE_CHECKING:
    from dagster import AssetSpec, JobDefinition

    from data_pipeline.dagster_internals import ReconstructableJob, ReconstructableRepository
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.instances import Configuration
    from data_pipeline.sampling.report.stored_reports import Inputs
    from data_pipeline.store.orphans import CodeLocation

_GIVEN = f"{__name__}.given"
_CHOSEN = f"{__name__}.chosen"
_LOADED = f"{__name__}.loaded"
_PACKAGE = Path(__file__).resolve().parents[1]
_NOT_OF_THE_USER = ("<frozen importlib", f"{_PACKAGE}{os.sep}", f"{os.sep}importlib{os.sep}")
_DAGSTER = f"{os.sep}site-packages{os.sep}dagster"


def _remember(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.meta[_GIVEN] = value


def module_option() -> click.Option:
    """Return the option -m, which may stand before or behind the name of a command."""
    return click.Option(
        ["-m", "--module"],
        metavar="MODULE",
        expose_value=False,
        callback=_remember,
        help="The module with the definitions, or its file; else what pyproject.toml or "
        "workspace.yaml names, in this folder or further up.",
    )


def configuration(*, with_module: bool = True) -> "Configuration":
    """Return the configuration of the project that a command works on.

    Args:
        with_module: Whether the command needs the definitions too.

    Raises:
        ConfigurationError: There is no project, it has several modules, or its file is wrong.
    """
    from data_pipeline.instances import load_configuration

    context = click.get_current_context()
    if _CHOSEN in context.meta:
        return load_configuration()
    module = context.meta[_CHOSEN] = _module(context, needed=with_module)
    found = load_configuration()
    if module is None or not project.is_own(module):
        what = f"project {module}, " if module else ""
        click.echo(f"{what}configuration {found.file}", err=True)
    if module is not None and found.file == project.SHIPPED and not project.is_own(module):
        from data_pipeline.assembly import project_configuration

        project_configuration()
    return found


def job(name: str) -> "JobDefinition":
    """Return the job of an instance.

    Raises:
        DefinitionsError: The module cannot be imported, or has no such job.
    """
    return reconstructable_job(name).get_definition()


def reconstructable_job(name: str) -> "ReconstructableJob":
    """Return the job of an instance such that other processes can load it.

    Raises:
        DefinitionsError: The module cannot be imported, or has no such job.
    """
    repository = _repository()
    if not repository.get_definition().has_job(name):
        raise DefinitionsError(
            f"The definitions in `{_chosen()}` have no job `{name}`. Make them by "
            "`instance_definitions(assets)`, which gives each instance a job of its name."
        )
    return repository.get_reconstructable_job(name)


def sliced_tables() -> "Mapping[StageTable, str]":
    """Return the tables that have slices, each with the job that builds these."""
    found = code_location()
    return found.sliced if found else {}


def code_location() -> "CodeLocation | None":
    """Return the code location of the project, None where its definitions do not say it."""
    from data_pipeline.runs import dagster_plan

    names = _repository().get_definition().job_names
    locations = (dagster_plan.code_location(job(name)) for name in names)
    return next((location for location in locations if location is not None), None)


def asset_specs() -> Sequence["AssetSpec"]:
    """Return the specs of all assets of the project."""
    graph = _repository().get_definition().asset_graph
    return [spec for asset in graph.assets_defs for spec in asset.specs]


def _chosen() -> CodeModule:
    configuration()
    found = click.get_current_context().meta[_CHOSEN]
    assert isinstance(found, CodeModule)  # noqa: S101 # a command that needs none does not ask
    return found


def _module(context: click.Context, *, needed: bool) -> CodeModule | None:
    """Return the module to work on, and let everything that follows be about it."""
    given = context.meta.get(_GIVEN)
    here = Path.cwd().resolve()
    module = _given(given, here) if given else _only(code_modules(here))
    if module is None:
        if needed or not _is_configured():
            raise ConfigurationError(_no_project(here))
        return None
    context.find_root().with_resource(project.working_on(module, given))
    folders = [module.folder, project.root()]
    sys.path[:0] = dict.fromkeys(str(folder) for folder in folders if folder is not None)
    return module


def _is_configured() -> bool:
    """Whether the environment or a file says which instances there are, or where they lie."""
    named = ("DATA_PIPELINE_HOME", "DATA_PIPELINE_DATABASE_URL")
    return project.configuration_file(os.environ) is not None or any(map(os.environ.get, named))


def _no_project(here: Path) -> str:
    return (
        f"No project is found in {here} or above it: no pyproject.toml with `module_name` in "
        "[tool.dagster] or `root_module` in [tool.dg.project], and no workspace.yaml. Go to the "
        "folder of your project, name the module with its definitions (data-pipeline -m "
        "shop.definitions ...), or make a project: data-pipeline init shop"
    )


def _given(given: str, here: Path) -> CodeModule:
    """Return the module that -m names, as the project describes it where it does."""
    described = code_modules(here)
    for module in described:
        if given in (module.name, module.location, str(module)):
            return module
    if given.endswith(".py") or os.sep in given:
        return at_path(Path(given), here, named_by="-m")
    sources = [module.folder for module in described if module.folder]
    top = project.root(here) or here
    return named(given, [here, *sources, top, top / "src"], named_by="-m")


def _only(found: Sequence[CodeModule]) -> CodeModule | None:
    if len(found) > 1:
        listed = "".join(f"\n  -m {module}" for module in found)
        raise ConfigurationError(
            f"{found[0].named_by} names several modules. Say which one is meant:{listed}"
        )
    return found[0] if found else None


def _repository() -> "ReconstructableRepository":
    meta = click.get_current_context().meta
    if _LOADED not in meta:
        from data_pipeline.code_version.code_warnings import UnseenInputWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnseenInputWarning)  # commands say it, once
            meta[_LOADED] = _loaded(_chosen())
    repository: ReconstructableRepository = meta[_LOADED]
    return repository


def _loaded(module: CodeModule) -> "ReconstructableRepository":
    from data_pipeline import dagster_internals as dagster

    folder = str(module.folder or Path.cwd())
    try:
        if module.by_file:
            imported = dagster.load_python_file(str(module.file), folder)
        else:
            imported = dagster.load_python_module(module.name, folder)
        targets = dagster.loadable_targets_from_loaded_module(imported)
        attribute = module.attribute or targets[0].attribute
        make = dagster.ReconstructableRepository
        found = (
            make.for_file(str(module.file), attribute, folder)
            if module.by_file
            else make.for_module(module.name, attribute, folder)
        )
        found.get_definition()
    except (Exception, SystemExit) as error:
        raise DefinitionsError(_told(module, error)) from error
    return found


def _told(module: CodeModule, error: BaseException) -> str:
    """Return what is wrong in the user's code: our own part of the traceback tells nothing."""
    if type(error).__name__ == "DagsterImportError" and error.__cause__ is not None:
        error = error.__cause__
    where = f"{module.file or 'not found'}, named by {module.named_by}"
    if isinstance(error, ModuleNotFoundError) and module.file is None:
        return (
            f"There is no module `{module}` ({module.named_by} names it): {error}. It was looked "
            f"for in {Path.cwd()}, in the project around that, and in the libraries of "
            f"{sys.executable}. Correct the name, or install the project."
        )
    told = traceback.TracebackException.from_exception(error)
    own = _shorten(told)
    if isinstance(error, DataPipelineError):
        line = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
        return f"The definitions in `{module}` ({where}) are refused{line}: {error}"
    text = "".join(told.format()).rstrip()
    return f"The definitions in `{module}` ({where}) cannot be loaded:\n{text}"


def said_by_dagster(error: BaseException) -> str:
    """Return an error of Dagster with its causes, each with its line of the user's code, if any."""
    lines = ["What was committed before is unchanged. Dagster ended this:"]
    cause: BaseException | None = error
    while cause is not None:
        text = re.sub(r"\nStack Trace:\n(?:  .*\n?)*", "\n", str(cause)).strip()
        own = _of_project(traceback.extract_tb(cause.__traceback__))
        line = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
        lines.append(f"{type(cause).__name__}: {text}{line}")
        cause = cause.__cause__
    return "\n".join(lines)


def _of_project(stack: traceback.StackSummary) -> list[traceback.FrameSummary]:
    root = project.root()
    return [
        frame
        for frame in stack
        if root and Path(frame.filename).is_relative_to(root) and _is_of_the_user(frame.filename)
    ]


def _shorten(told: traceback.TracebackException) -> list[traceback.FrameSummary]:
    """Leave the frames of the user's code in a traceback and in what it follows from."""
    own: list[Any] = [frame for frame in told.stack if _is_of_the_user(frame.filename)]
    told.stack = traceback.StackSummary.from_list(own)
    for before in (told.__cause__, told.__context__):
        if before is not None:
            _shorten(before)
    return own


def _is_of_the_user(file: str) -> bool:
    shipped = file.startswith((f"{_PACKAGE / 'pipelines'}", f"{_PACKAGE / 'definitions.py'}"))
    return shipped or not (_DAGSTER in file or any(part in file for part in _NOT_OF_THE_USER))


def input_stages() -> dict[str, "Inputs"]:
    """Return the input tables of the project, by stage."""
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.sampling.copy_filtered_inputs import SOURCE_METADATA_KEY
    from data_pipeline.sampling.report.stored_reports import Inputs
    from data_pipeline.store.table_properties import declared_properties

    found: dict[str, Inputs] = {}
    for spec in asset_specs():
        if SOURCE_METADATA_KEY in spec.metadata:
            table = StageTable.from_path(spec.key.path)
            raw = StageTable.from_path(str(spec.metadata[SOURCE_METADATA_KEY]).split("/"))
            inputs = found.setdefault(table.stage, Inputs(table.stage, {}, {}))
            inputs.raw[table.name] = raw  # type: ignore[index] # it is this function's own
            inputs.declared[table.name] = declared_properties(spec.metadata)  # type: ignore[index]
    return found
