"""Tables that cannot take what a run would build, since they are cut otherwise, in words."""

from collections.abc import Iterable, Iterator, Mapping

from data_pipeline.database.connection import Database
from data_pipeline.database.identifiers import RelationName, few
from data_pipeline.database.relations import Shape, read_shapes
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Computation, Key, Known
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.sliced_tables import bounds_of, drop_command


def cut_otherwise(
    database: Database, instance: Instance, due: Iterable[Computation], known: Mapping[Key, Known]
) -> str | None:
    """Say which tables are cut otherwise than what a run would build of them.

    Their slices are of other days or weeks than those of the asset, or of something else; or only
    one of both has slices. PostgreSQL would refuse that in the commit, when all is computed.

    Args:
        database: The database of the instance.
        instance: The instance of the run.
        due: What the run would build.
        known: What the catalogs know.

    Returns:
        A sentence that names them, and what to do; None without any.
    """
    items = [item for item in due if _is_about_slices(item, known)]
    if not items:
        return None
    names = [committed(instance, item.key[1].whole) for item in items]
    with database.begin() as connection:
        shapes = read_shapes(connection, names)
    found = [
        f"{why}. The table stays as it is until it is dropped; then its slices are built again: "
        f"{drop_command(instance, item.key[1].whole)}"
        for item, name in zip(items, names, strict=True)
        if name in shapes and (why := _why(item, name, shapes[name], known)) is not None
    ]
    return "; ".join(found) or None


def _is_about_slices(item: Computation, known: Mapping[Key, Known]) -> bool:
    whole = known.get((item.key[0], item.key[1].whole))
    has_slices = whole is not None and whole.row.kind == "sliced"
    return has_slices or (item.bounds is not None and whole is not None and whole.row.is_relation)


def _why(
    item: Computation, name: RelationName, shape: Shape, known: Mapping[Key, Known]
) -> str | None:
    table, own = item.key[1], item.bounds
    if own is None:
        return f"`{table}` has no slices any more, and {name} has some"
    if shape.kind != "p":
        return f"`{table.whole}` has slices now, and {name} is a relation without"
    types = {column.name: column.type for column in shape.columns}
    kind = types.get(own.column, "")
    others = list(_others(item, known))
    for bounds in (bounds_of(row) for row in others if row.row_count):
        if bounds.column != own.column:
            return f"{name} is cut by `{bounds.column}`, and `{table}` by `{own.column}`"
        if (was := bounds.by(kind)) != own.by(kind):
            return f"{name} is cut by {was}, and `{table}` by {own.by(kind)}"
    overlapped = [f"`{row.table}`" for row in others if own.overlaps(bounds_of(row), kind)]
    if overlapped:
        return f"the times of `{table}` overlap those of {few(overlapped)}, which are other slices"
    return None


def _others(item: Computation, known: Mapping[Key, Known]) -> Iterator[CatalogRow]:
    """Return the rows of the other slices that a table has."""
    instance, table = item.key
    for (owner, other), found in known.items():
        is_other = other.slice is not None and other != table
        if owner == instance and is_other and other.whole == table.whole and found.exists:
            yield found.row
