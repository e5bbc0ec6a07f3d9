"""The settings of a sample (`sample` in the attrs of an instance that copies its inputs)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from data_pipeline.instances.merged_layers import suggestion
from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings
from data_pipeline.instances.settings.strict import Settings, not_boolean

TableKey = Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)?$")]
"""A raw table, as `table` (in every stage that has one of that name) or as `stage/table`, where the
stage is that of the input tables."""


def _pins_of_table(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value
    names = list(value) if isinstance(value, Mapping) else ["column"]
    row = ", ".join(f"{name}: ..." for name in names)
    raise ValueError(f"a list is needed, with a mapping for each row, as in [{{{row}}}]")


def _names(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value
    raise ValueError("a list of columns is needed, as in [column]")


def _tables(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value
    raise ValueError("a list of tables is needed, as in [table]")


def _cuts(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value
    raise ValueError("a list of referring columns is needed, as in [table.column]")


def _reference(value: str) -> str:
    if re.fullmatch(r"([^/]+/)?[^/.]+\.[^.]+", value):
        return value
    raise ValueError(f"'{value}' is no reference: write table.column, or stage/table.column")


def _sql(value: str) -> str:
    if value.strip():
        return value
    raise ValueError("an SQL expression is needed")


def _way(value: object) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and value:
        return tuple(value)
    raise ValueError("name the table that it is drawn with, or a list of its referring columns")


_Reference = Annotated[str, AfterValidator(_reference)]
_Sql = Annotated[str, AfterValidator(_sql)]
_Way = Annotated[str | tuple[str, ...], BeforeValidator(_way)]
_Pins = Annotated[tuple[dict[str, Any], ...], BeforeValidator(_pins_of_table)]
_Columns = Annotated[tuple[str, ...], BeforeValidator(_names)]


class RootSettings(Settings):
    """How much of a root is sampled; neither is needed for a minimal sample.

    Attributes:
        rate: The probability of each row (above 0, up to 1).
        rows: The number of rows (at least 1).
    """

    rate: Annotated[float, Field(gt=0, le=1), BeforeValidator(not_boolean)] | None = None
    rows: Annotated[int, Field(ge=1), BeforeValidator(not_boolean)] | None = None

    @model_validator(mode="after")
    def _one_at_most(self) -> "RootSettings":
        if self.rate is not None and self.rows is not None:
            raise ValueError("rate and rows exclude each other")
        return self


_UNITS = {"": 1, "B": 1, "KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return not_boolean(value)
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError("write a number of bytes, or one with kB, MB, GB or TB, as in 2GB")
    return round(float(match[1]) * _UNITS[match[2].upper()])


class Budget(Settings):
    """How large all tables of a stage are together; the rates of roots follow from it.

    Attributes:
        rows: Their rows.
        bytes: What they take on disk, with indexes: a number, or one with kB, MB, GB or TB.
        share: Their part of the rows of the source.
    """

    rows: Annotated[int, Field(ge=1), BeforeValidator(not_boolean)] | None = None
    bytes: Annotated[int, Field(ge=1), BeforeValidator(_bytes)] | None = None
    share: Annotated[float, Field(gt=0, le=1), BeforeValidator(not_boolean)] | None = None

    def __str__(self) -> str:
        given = ((name, value) for name, value in self if value is not None)
        return "{" + ", ".join(f"{name}: {value}" for name, value in given) + "}"


def _size(value: object) -> object:
    """Take the word `minimal`, or a mapping with one key."""
    if value is None or value == "minimal" or isinstance(value, Budget):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("write minimal, or one of {rows: ...}, {bytes: 2GB}, {share: 0.02}")
    for name in value:
        if name not in Budget.model_fields:
            raise ValueError(f"unknown key '{name}'. {suggestion(name, Budget.model_fields)}")
    if len(value) != 1:
        raise ValueError("give one of rows, bytes and share")
    try:
        return Budget.model_validate(value)
    except ValidationError as error:  # not that it is no `minimal`, either
        [problem] = error.errors()
        reason = problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{problem['loc'][0]}: {reason}") from None


class CoverSettings(Settings):
    """Which values must have a witness row in the sample.

    Attributes:
        columns: The columns to cover by table; None: all columns of all tables.
        predicates: SQL conditions by table and name; a row for which it is true must be there.
        fan_outs: Whether parents with no, one and the most children are to be there.
        category_limit: A column with more values than this has no witness for each of them.
    """

    columns: dict[TableKey, _Columns] | None = None
    predicates: dict[TableKey, dict[str, str]] = Field(default_factory=dict)
    fan_outs: bool = True
    category_limit: Annotated[int, Field(ge=0), BeforeValidator(not_boolean)] = 100

    @property
    def covers_nothing(self) -> bool:
        """Whether nothing is asked for."""
        return self.columns == {} and not self.predicates and not self.fan_outs


_COVER_NOTHING = {"columns": {}, "fan_outs": False}


def _cover(value: object) -> object:
    """Take the words `auto` and `off` (which YAML reads as false), and refuse unknown keys."""
    if value == "auto":
        return {}
    if value is False or value == "off":
        return _COVER_NOTHING
    if isinstance(value, CoverSettings):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("write auto, off, or a mapping with 'columns' and 'predicates'")
    for name in value:
        if name not in CoverSettings.model_fields:
            raise ValueError(
                f"unknown key '{name}'. {suggestion(name, CoverSettings.model_fields)}"
            )
    return {**value, "columns": _columns(value.get("columns", "auto"))}


def _columns(value: object) -> object:
    if value == "auto":
        return None
    return {} if value is False or value == "off" else value


def _hubs(value: object) -> object:
    if value is False or value == "off":
        return "off"
    if value == "auto" or (isinstance(value, int) and value is not True and value >= 1):
        return value
    raise ValueError("write auto, off, or the number of children above which a root is a hub")


def _report(value: object) -> object:
    return "off" if value is False else value


class SampleSettings(Settings):
    """Which rows of the source an instance copies.

    Attributes:
        roots: The tables that are sampled themselves; children are sampled with their roots.
        salt: Added to every hash. A minimal sample lies in all others of its salt with the same
            `where` and `cut`; another one in those of more rows with the same roots, hubs, coverage
            and pins, too, and at least its `small_table_rows`. Samples of other salts are
            independent.
        cover: What must have a witness row.
        hubs: Roots with more children than this come for certain, with some of their children;
            `auto` takes the number from the source, `off` knows no hubs.
        small_table_rows: Tables that are only referred to come whole up to this number of rows
            (5000); of those that no root reaches, larger ones have to be named in `whole`, or be
            roots.
        whole: Tables that come whole, whatever their size, and whether or not a root reaches them.
        follow: With which table another one is drawn, or by which of its columns, where several
            ways lead to a root; default: the shortest one.
        where: SQL conditions by table: only rows for which it is true are drawn, with what belongs
            to them, and only these do weights and the report stand for.
        cut: References, as `table.column` or `stage/table.column`, that become NULL where the row
            that they refer to is not in the sample, instead of bringing it.
        closure_limit: The largest share of a table's rows that may come since others refer to them;
            None: any.
        mask: SQL expressions that stand in the place of columns in copies, by table and column.
        pins: Rows that must be there, by table, each by the columns of its primary key.
        size: How large the tables are together, from which follows the rate of roots that have
            none; or `minimal` for the least that keeps every join non-empty.
        report: Whether every copy is compared with its source.
        checks: How far the figures of that report may go.
    """

    roots: dict[TableKey, RootSettings] = Field(default_factory=dict)
    salt: Annotated[int, Field(ge=-(2**63), lt=2**63), BeforeValidator(not_boolean)] = 0
    cover: Annotated[CoverSettings, BeforeValidator(_cover)] = CoverSettings()
    hubs: Annotated[int | str, BeforeValidator(_hubs)] = "auto"
    small_table_rows: Annotated[int, Field(ge=0), BeforeValidator(not_boolean)] = 5000
    whole: Annotated[tuple[TableKey, ...], BeforeValidator(_tables)] = ()
    follow: dict[TableKey, _Way] = Field(default_factory=dict)
    where: dict[TableKey, _Sql] = Field(default_factory=dict)
    cut: Annotated[tuple[_Reference, ...], BeforeValidator(_cuts)] = ()
    closure_limit: Annotated[float, Field(gt=0, le=1), BeforeValidator(not_boolean)] | None = None
    mask: dict[TableKey, dict[str, _Sql]] = Field(default_factory=dict)
    pins: dict[TableKey, _Pins] = Field(default_factory=dict)
    size: Annotated[Literal["minimal"] | Budget | None, BeforeValidator(_size)] = None
    report: Annotated[Literal["auto", "off"], BeforeValidator(_report)] = "auto"
    checks: CheckSettings = CheckSettings()

    @property
    def is_minimal(self) -> bool:
        """Whether only what keeps joins non-empty is asked for."""
        return self.size == "minimal"

    @model_validator(mode="after")
    def _complete(self) -> "SampleSettings":
        if not self.roots:
            raise ValueError("name at least one root, such as 'roots: {flights: {rate: 0.05}}'")
        open_ = [n for n, root in self.roots.items() if root.rate is None and root.rows is None]
        if open_ and self.size is None:
            raise ValueError(
                f"the root '{open_[0]}' needs a rate or a number of rows, or the sample needs a "
                "size: 'size: minimal', 'size: {rows: 200000}', {bytes: 2GB} or {share: 0.02}"
            )
        if isinstance(self.size, Budget) and not open_:
            raise ValueError(
                "a size decides on the rates of roots without one, but all have a rate or a number "
                "of rows: take it away from one, as in 'roots: {flights: {}}', or leave out size"
            )
        return self
