"""What the annotation of a parameter asks for."""

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.dataframely_and_pandera import FrameSchema, schema_of
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.io_manager.ibis_tables import as_ibis
from data_pipeline.store.reading import shown, takes_reference
from data_pipeline.transfer.frames import is_frame_type, loaded_module


@dataclass(frozen=True)
class Wanted:
    """What a parameter asks for.

    Attributes:
        form: A frame type, `sa.Table`, `ibis.Table`, or anything else, which means a reference for
            a table and the object for a blob.
        by_instance: Whether it takes several, by the name of their instance; or, of one, those of
            an asset with several tables by their own.
        schema: The schema that a frame is to have; None for one of any columns.
    """

    form: Any
    by_instance: bool = False
    schema: FrameSchema | None = None

    @property
    def is_table(self) -> bool:
        """Whether it can only be a table."""
        return is_of_tables(self.form)

    @property
    def fetched(self) -> Any:
        """The form to fetch it in, of which `fitted` makes what is asked for."""
        return sa.Table if is_ibis_table(self.form) else self.form

    def fitted(self, instance: Instance, value: Any) -> Any:
        """Return what was fetched in the types of a schema, or as a table of ibis."""
        if isinstance(value, dict) and self.by_instance:
            return {name: self.fitted(instance, each) for name, each in value.items()}
        if is_ibis_table(self.form) and isinstance(value, sa.Table):
            return as_ibis(database(instance), value)
        if self.schema is not None and isinstance(value, self.form):
            return self.schema.fitted(value)
        return value


def wanted(annotation: Any, instances: Sequence[str | None], what: str) -> Wanted:
    """Return what a parameter asks for.

    Args:
        annotation: Its annotation, as Dagster knows it.
        instances: The instances that it reads.
        what: Names the input and its table in messages.

    Raises:
        UnsupportedDataError: It takes one table and reads those of several instances, or of none.
    """
    annotation = without_none(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is dict and len(arguments) == 2 and arguments[0] is str:
        of_each = _of_one(arguments[1], by_instance=True)
        if of_each.is_table or len(instances) != 1:
            return of_each
    if len(instances) == 1:
        return _of_one(annotation)
    if annotation in (Any, dict):
        return Wanted(Any, by_instance=True)
    names = ", ".join(f"`{name}`" for name in instances)
    raise UnsupportedDataError(
        f"{what} reads {f'those of instances {names}' if names else 'none of any instance'}, by "
        f"its partition mapping, but is annotated with {shown(annotation)}. Annotate it with "
        "dict[str, pd.DataFrame] (or pl.DataFrame, pa.Table, sa.Table), by name of the instance, "
        "or map it to one instance."
    )


def _of_one(annotation: Any, *, by_instance: bool = False) -> Wanted:
    annotation = without_none(annotation)
    schema = schema_of(annotation)
    return Wanted(schema.frame if schema else annotation, by_instance, schema)


def is_of_tables(annotation: Any) -> bool:
    """Whether an annotation names a form of tables."""
    annotation = without_none(annotation)
    return (
        annotation is sa.Table
        or is_frame_type(annotation)
        or is_ibis_table(annotation)
        or schema_of(annotation) is not None
    )


def takes_table(annotation: Any) -> bool:
    """Whether a table can be given as what an annotation says."""
    annotation = without_none(annotation)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is dict and len(arguments) == 2 and arguments[0] is str:
        return takes_table(arguments[1])
    if annotation is dict or is_of_tables(annotation):
        return True
    return takes_reference(annotation)


def is_ibis_table(annotation: Any) -> bool:
    """Whether an annotation is `ibis.Table`."""
    ibis = loaded_module("ibis")
    return ibis is not None and annotation is ibis.Table


def without_none(annotation: Any) -> Any:
    """Return `X` for `X | None` and `Optional[X]`."""
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return annotation
    others = [item for item in typing.get_args(annotation) if item is not type(None)]
    return others[0] if len(others) == 1 else annotation
