"""Several tables of one asset, whose names are known only when it has run.

The asset has a row of its own in the catalog, which names its tables; each of these has one too,
which names the asset. In the database they lie in the stage of the asset, under their own names.
"""

import types
import typing
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.store.table_properties import Table, View
from data_pipeline.transfer.stable_hash import fingerprint

NAMES = "tables"
"""Where the `relation` of an asset's row has the names of its tables."""

_FORMS = (Table, View, sa.ClauseElement)


class Tables(dict[str, Any]):
    """Several tables that one asset returns, by name: `def by_country(...) -> Tables`.

    Use it where the names are known only when the asset runs; where they are known beforehand,
    `dg.multi_asset` gives each table an asset of its own. Values are frames, queries, `View(...)`
    and `Table(...)`; a plain dictionary will do, too.
    """


def _checked(_context: Any, value: Any) -> dg.TypeCheck:
    if isinstance(value, Mapping):
        return dg.TypeCheck(success=True)
    what = f"{type(value).__module__}.{type(value).__qualname__}"
    return dg.TypeCheck(success=False, description=f"A {what} is no dictionary of tables, by name.")


dg.make_python_type_usable_as_dagster_type(
    Tables,
    dg.DagsterType(
        key="data_pipeline.Tables", name="Tables", type_check_fn=_checked, typing_type=Tables
    ),
)


def is_several(annotation: Any) -> bool:
    """Whether an annotation says that what is returned are several tables."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return issubclass(annotation, Tables)
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is not dict or len(arguments) != 2 or arguments[0] is not str:
        return False
    is_union = typing.get_origin(arguments[1]) in (typing.Union, types.UnionType)
    kinds = typing.get_args(arguments[1]) if is_union else [arguments[1]]
    # A dictionary of frames has always been an object; of these, none can be made.
    return any(isinstance(kind, type) and issubclass(kind, _FORMS) for kind in kinds)


def member_key(cache_key: str | None, name: str) -> str | None:
    """Return the cache key of one of an asset's tables, given that of the asset."""
    return None if cache_key is None else fingerprint("table-of-asset-1", cache_key, name)


def names_of(relation: Mapping[str, Any]) -> list[str]:
    """Return the names of an asset's tables, given the `relation` of its catalog row."""
    return list(relation.get(NAMES, ()))


def check_names(asset: StageTable, names: Iterable[Any], others: Collection[str]) -> None:
    """Refuse names that tables of an asset's stage cannot have.

    Args:
        asset: The asset.
        names: The names of its tables.
        others: The names of the other assets of its stage.

    Raises:
        UnsupportedDataError: A name is none of a table.
        ConfigurationError: A name is that of another asset, or differs from it by case alone.
    """
    taken = {other.lower(): f"asset `{asset.stage}/{other}`" for other in (*others, asset.name)}
    for name in names:
        _check_name(asset, name)
        own = f"its table `{name}`"
        if (other := taken.setdefault(name.lower(), own)) != own:
            raise ConfigurationError(
                f"Asset `{asset}` returned a table `{name}`, whose name is that of {other}; "
                "they would be one relation, or differ only by upper and lower case. Give it "
                "another name, or the asset a stage of its own."
            )


def _check_name(asset: StageTable, name: Any) -> None:
    what = f"Asset `{asset}` returned a table with the name {name!r}"
    if not isinstance(name, str):
        raise UnsupportedDataError(f"{what}, which is no text. Write the name as a text.")
    if not name or "/" in name or "\0" in name:
        raise UnsupportedDataError(
            f"{what}. A name needs a character at least, and neither a slash nor a zero byte."
        )
    try:
        StageTable.from_path([asset.stage, name])
    except ConfigurationError as error:
        raise UnsupportedDataError(f"{what}: {error}") from None


def form_of_each(annotation: Any) -> Any:
    """Return the form in which each of several tables is to be given."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict and len(arguments) == 2:
        return arguments[1]
    if annotation is dict or is_several(annotation):
        return sa.Table
    return annotation


def members(asset: StageTable, names: Iterable[str]) -> list[StageTable]:
    """Return the tables of an asset, as pipelines know them."""
    return [StageTable(asset.stage, name) for name in names]
