"""Annotations as Dagster types that check what comes and goes, and say what to do.

`dy.DataFrame[Schema]` and `pandera.typing.DataFrame[Model]` are no types to Dagster; `install` lets
it know them, and look at `sa.Table`. They are checked wherever Dagster checks types: on the way in
and on the way out, in runs and in tests.
"""

import copy
import functools
import typing
from collections import Counter
from collections.abc import Mapping
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.dagster_internals import extend_annotations


class FrameSchema:
    """The schema behind an annotation.

    Args:
        schema: The class of the schema.
        frame: The type of frame that it is about.
    """

    def __init__(self, schema: Any, frame: type) -> None:
        self.schema = schema
        self.frame = frame

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return ()

    @property
    def nullable(self) -> Mapping[str, bool]:
        """Whether columns may be NULL."""
        raise NotImplementedError

    @property
    def descriptions(self) -> Mapping[str, str]:
        """What columns mean, where the schema says it."""
        return {
            name: str(column.description)
            for name, column in self.columns.items()
            if column.description
        }

    @property
    def columns(self) -> Mapping[str, Any]:
        """The columns as the library describes them, by name."""
        raise NotImplementedError

    def failures(self, frame: Any) -> Mapping[str, int]:
        """Return how many rows each rule refuses, of those that refuse any."""
        raise NotImplementedError

    def fitted(self, frame: Any) -> Any:
        """Return a frame out of the database in the types of the schema."""
        raise NotImplementedError


class _Dataframely(FrameSchema):
    @property
    def primary_key(self) -> tuple[str, ...]:
        return tuple(self.schema.primary_key())

    @property
    def nullable(self) -> Mapping[str, bool]:
        return {name: column.nullable for name, column in self.columns.items()}

    @property
    def columns(self) -> Mapping[str, Any]:
        return dict(self.schema.columns())

    def failures(self, frame: Any) -> Mapping[str, int]:
        import dataframely as dy

        try:
            _, failed = self.schema.filter(frame.lazy().collect())
        except dy.exc.SchemaError as error:
            return {str(error).splitlines()[0].strip(): frame.lazy().collect().height}
        return dict(failed.counts())

    def fitted(self, frame: Any) -> Any:
        return self.schema.cast(frame)


class _Pandera(FrameSchema):
    @property
    def nullable(self) -> Mapping[str, bool]:
        return {
            name: bool(column.nullable)
            for name, column in self.columns.items()
            if column.required and not column.regex
        }

    @property
    def columns(self) -> Mapping[str, Any]:
        return dict(self._checked().columns)

    def failures(self, frame: Any) -> Mapping[str, int]:
        import pandera.errors

        collected = frame.collect() if hasattr(frame, "collect") else frame
        try:
            self._checked().validate(collected, lazy=True)
        except pandera.errors.SchemaErrors as error:
            found: Any = error.failure_cases
            cases = found.to_dicts() if hasattr(found, "to_dicts") else found.to_dict("records")
            return Counter(f"{case.get('column')}: {case.get('check')}" for case in cases)
        except pandera.errors.SchemaError as error:
            return {str(error).splitlines()[0]: len(collected)}
        return {}

    def fitted(self, frame: Any) -> Any:
        import pandera.errors

        schema = copy.deepcopy(self._checked())
        schema.coerce = True
        try:
            return schema.coerce_dtype(frame)
        except (pandera.errors.SchemaError, pandera.errors.SchemaErrors):
            return frame  # the check says what is wrong with it

    def _checked(self) -> Any:
        return self.schema.to_schema()


class SchemaType(dg.DagsterType):
    """A Dagster type that checks frames by their schema, and counts what is wrong with them."""

    def __init__(self, annotation: Any, schema: FrameSchema) -> None:
        kind, name = schema.frame, schema.schema.__qualname__
        self._shown = f"{kind.__name__}[{name}]"
        library = annotation.__origin__.__module__
        super().__init__(
            key=f"{library}.{kind.__name__}[{schema.schema.__module__}.{name}]",
            description=f"A {kind.__module__.split('.')[0]} frame with the schema `{name}`.",
            type_check_fn=lambda _, value: _checked(schema, value),
            typing_type=annotation,
        )

    @property
    def display_name(self) -> str:
        """The annotation without its modules."""
        return self._shown


def schema_of(annotation: Any) -> FrameSchema | None:
    """Return the schema behind an annotation, None where it has none."""
    origin, arguments = getattr(annotation, "__origin__", None), typing.get_args(annotation)
    library = str(getattr(origin, "__module__", "")).split(".")
    if len(arguments) != 1 or library[0] not in ("dataframely", "pandera"):
        return None
    if getattr(origin, "__name__", "") not in ("DataFrame", "LazyFrame"):
        return None
    return _schema(annotation)


@functools.cache
def _schema(annotation: Any) -> FrameSchema:
    origin, [schema] = annotation.__origin__, typing.get_args(annotation)
    kind = _Pandera if origin.__module__.startswith("pandera") else _Dataframely
    if kind is _Pandera and "polars" not in origin.__module__:
        import pandas as pd

        return kind(schema, pd.DataFrame)
    import polars as pl

    return kind(schema, getattr(pl, origin.__name__))


@functools.cache
def _type(annotation: Any) -> SchemaType:
    return SchemaType(annotation, _schema(annotation))


def _check_reference(_context: object, value: object) -> dg.TypeCheck:
    if isinstance(value, sa.Table):
        return dg.TypeCheck(True)
    what = f"{type(value).__module__}.{type(value).__qualname__}"
    return dg.TypeCheck(
        False,
        description=f"A {what} is no sa.Table, which is a table in a database. In memory "
        "(materialize_to_memory) there is none: run the assets by "
        "data_pipeline.testing.materialize([...], inputs={'stage/table': frame}), which has one, "
        "or annotate the parameter with a frame.",
    )


_REFERENCE = dg.DagsterType(
    key="sqlalchemy.Table",
    name="sqlalchemy_Table",
    description="A table in the database; no rows move.",
    type_check_fn=_check_reference,
    typing_type=sa.Table,
)


def _resolved(annotation: Any) -> dg.DagsterType | None:
    if annotation is sa.Table:
        return _REFERENCE
    return None if schema_of(annotation) is None else _type(annotation)


def install() -> None:
    """Let Dagster know annotations with a schema, and `sa.Table`."""
    extend_annotations(_resolved)


def _checked(schema: FrameSchema, value: Any) -> dg.TypeCheck:
    while type(value).__module__.startswith("data_pipeline.") and hasattr(value, "obj"):
        value = value.obj  # of `Table(...)`
    name = schema.schema.__qualname__
    if not isinstance(value, schema.frame):
        what = f"{type(value).__module__}.{type(value).__qualname__}"
        wanted = f"{schema.frame.__module__.split('.')[0]}.{schema.frame.__name__}"
        return dg.TypeCheck(False, description=f"A {what} is no {wanted} with schema `{name}`.")
    failures = schema.failures(value)
    listed = ", ".join(f"{rule} ({count} rows)" for rule, count in failures.items())
    return dg.TypeCheck(
        success=not failures,
        description=f"Schema `{name}` is not kept: {listed}." if failures else None,
        metadata=dict(failures),
    )
