"""Turns filled-in values into settings, and pydantic's errors into ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from data_pipeline.instances.merge import Located
from data_pipeline.instances.problems import problem, shown, suggestion
from data_pipeline.instances.settings import _Settings

Settings = TypeVar("Settings", bound=_Settings)

_REMEDIES = {
    "bool": "Write true or false.",
    "int": "Write a whole number.",
    "float": "Write a number.",
    "greater": "Choose a larger number.",
    "less": "Choose a smaller number.",
    "string": "Write a text; put it in quotes if it looks like a number or a date.",
    "dict": "Write a mapping of keys to values.",
    "model": "Write a mapping of keys to values.",
    "path": "Write a path.",
    "literal": "Choose one of these.",
    "missing": "Add it.",
}


def validated(
    model: type[Settings], values: Mapping[str, Any], file: Path, key: str, origins: Any
) -> Settings:
    """Give the values as settings.

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
    raise problem(file, path, _what(details, written), _remedy(details))


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Gives the model that a value of a model has to fit, by its location there."""
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is not None:  # else it is a key or number in a mapping or list of models
            model = _model_in(field.annotation) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Gives the model in a type such as `dict[str, Model]` or `Model | None`."""
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
    return f"{shown(written.value)} does not fit: {reason}" if written else reason


def _remedy(details: ErrorDetails) -> str:
    kind = details["type"]
    if "exclude each other" in details["msg"]:
        return "Keep one, and set the other to null if it is inherited."
    for prefix, remedy in _REMEDIES.items():
        if kind.startswith(prefix):
            return remedy
    return "Correct it."
