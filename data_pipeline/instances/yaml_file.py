"""Reads YAML files of the configuration: which file, and what it says."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from data_pipeline.instances import project
from data_pipeline.instances.merged_layers import Located, problem, shown, suggestion
from data_pipeline.instances.settings.strict import Settings


def configuration_path(path: Path | str | None, variables: Mapping[str, str]) -> Path:
    """Return the absolute path of the configuration file.

    The argument wins over `DATA_PIPELINE_CONFIG`, that over the file of the project, and that over
    the one of the package. Relative paths start at the current directory.
    """
    if path:
        return Path(path).expanduser().absolute()
    return project.configuration_file(variables) or project.SHIPPED


def read_configuration(path: Path) -> dict[Any, Any]:
    """Read the configuration file.

    Raises:
        ConfigurationError: It cannot be read, is no YAML, has duplicate keys or is no mapping.
    """
    remedy = (
        "Name an existing file in DATA_PIPELINE_CONFIG (a relative path starts at the current "
        f"directory), or unset it to use {project.CONFIGURATION} of the project."
    )

    def wrong_syntax(error: yaml.YAMLError) -> str:
        # Never str(error): it quotes the line, and the line may hold a password.
        return f"{getattr(error, 'problem', None) or 'unreadable'}{_line(error)}"

    return _read(path, path, "", remedy, wrong_syntax)


def read_url_attrs(path: Path, file: Path, key: str) -> dict[str, str]:
    """Read the file of connection attributes (`username`, `password`, `host`, `port`, ...).

    Args:
        path: The file of attributes. Nothing of its content ever gets into an error.
        file: The configuration file that refers to it.
        key: Where the configuration file refers to it.

    Raises:
        ConfigurationError: It cannot be read, or is not a mapping of keys to texts or numbers.
    """
    remedy = f"Correct the path, or write a YAML file with keys such as username there: {path}."
    content = _read(
        path, file, key, remedy, lambda error: f"a syntax error or a key twice{_line(error)}"
    )
    attrs: dict[str, str] = {}
    for name, value in content.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            what = f"the value of '{name}' in {path} is neither a text nor a whole number"
            raise problem(file, key, what, "Put it in quotes.")
        attrs[str(name)] = str(value)
    return attrs


def _read(
    path: Path, file: Path, key: str, remedy: str, wrong_syntax: Callable[[yaml.YAMLError], str]
) -> dict[Any, Any]:
    """Read a YAML mapping; every error is raised outside of `except`, without the one it is for."""
    content: object = None
    try:
        content = _parsed(path.read_text(encoding="utf-8"))
        flaw = None
    except OSError as error:
        flaw = f"{path} cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        flaw, remedy = f"{path} is not UTF-8", "Save it as UTF-8."
    except yaml.YAMLError as error:
        flaw, remedy = f"{path} is not valid YAML: {wrong_syntax(error)}", "Correct it there."
    except ValueError:  # such as the date 2024-13-01
        flaw, remedy = f"{path} has a value that its type does not allow", "Put it in quotes."
    if flaw:
        raise problem(file, key, flaw, remedy)
    if not isinstance(content, dict):
        found = "empty" if content is None else "no mapping"
        raise problem(file, key, f"{path} is {found}", "Write a YAML mapping of keys to values.")
    return content


@lru_cache(maxsize=16)
def _parsed(text: str) -> object:
    """Parse a text once: a run asks for its configuration ten times. Nobody changes the result."""
    return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 # it is a SafeLoader


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would let the last one win."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                what = f"the key {shown(key.value)} stands twice in one mapping"
                raise yaml.composer.ComposerError(None, None, what, key.start_mark)
            seen.add((key.tag, key.value))
        return node


Checked = TypeVar("Checked", bound=Settings)

_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")

_REMEDIES = {
    "bool": "Write true or false.",
    "int": "Write a whole number.",
    "float": "Write a number.",
    "greater": "Choose a larger number.",
    "less": "Choose a smaller number.",
    "string": "Write a text; put it in quotes if it looks like a number or a date.",
    "dict": "Write 'name: value' entries below it.",
    "model": "Write 'name: value' entries below it.",
    "path": "Write a path.",
    "literal": "Choose one of these.",
    "missing": "Add it.",
}


def validated(
    model: type[Checked], values: Mapping[str, Any], file: Path, key: str, origins: Any
) -> Checked:
    """Return the values as settings.

    Args:
        model: The type of settings.
        values: What the merged layers say, placeholders filled in.
        file: The configuration file.
        key: The key path of the merged mapping, for values that stand nowhere.
        origins: The same values as `Located`, to name the place where one was written.

    Raises:
        ConfigurationError: A value has the wrong type or is out of range. The text shows the value
            as the file has it (so never the content of a variable).
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path, written = origin(origins, key, details["loc"])
    if details["type"] == "extra_forbidden":
        name = str(details["loc"][-1])
        remedy = suggestion(name, _model_at(model, details["loc"][:-1]).model_fields)
        raise problem(file, path, f"unknown key {shown(name)}", remedy)
    raise problem(file, path, _what(details, written), _remedy(details, written))


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model that a value of a model has to fit, by its location there."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is not None:  # else it is a key or number in a mapping or list of models
            model = _model_in(field.annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in a type such as `dict[str, Model]` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def origin(origins: Any, key: str, loc: tuple[int | str, ...]) -> tuple[str, Located | None]:
    """Find where a value of a merged mapping was written: its key path there, and the value."""
    path, node = key, origins
    for part in loc:
        if part == "[key]":  # pydantic's word for "the key, not the value"
            break
        path = f"{path}.{part}"
        node = node.get(str(part)) if isinstance(node, Mapping) else None
    return (node.key, node) if isinstance(node, Located) else (path, None)


def _what(details: ErrorDetails, written: Located | None) -> str:
    if details["type"] == "string_pattern_mismatch":
        return "a key here must be a stage, or a stage and a table: 'stage/table'"
    message = details["msg"].removeprefix("Value error, ")
    reason = message[0].lower() + message[1:]
    if details["type"].startswith(("dict", "model")):
        reason = "a mapping of keys is needed"
    return f"{shown(written.value)} does not fit: {reason}" if written else reason


def _remedy(details: ErrorDetails, written: Located | None) -> str:
    kind = details["type"]
    if kind == "float_parsing" and (percent := _PERCENT.fullmatch(str(written and written.value))):
        return f"Write {float(percent[1]) / 100:g}."
    if "exclude each other" in details["msg"]:
        return "Keep one, and set the other to null if it is inherited."
    for prefix, remedy in _REMEDIES.items():
        if kind.startswith(prefix):
            return remedy
    return "Correct it."
