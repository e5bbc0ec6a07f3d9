"""One Dagster pipeline as isolated instances (full, midi, mini) in one PostgreSQL database."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_pipeline.resources import instance_resources

__all__ = ["instance_resources"]


def __getattr__(name: str) -> Any:
    # Dagster takes a second to import, which the command line need not wait for.
    if name == "instance_resources":
        from data_pipeline.resources import instance_resources

        return instance_resources
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
