"""What all settings have in common: they are immutable, and know their keys."""

from pydantic import BaseModel, ConfigDict


def not_boolean(value: object) -> object:
    """Refuse true and false, which pydantic would take for numbers."""
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true or false")
    return value


class Settings(BaseModel):
    """Immutable, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )
