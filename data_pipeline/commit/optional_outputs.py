"""Optional outputs that a step has not made: they leave their stage with the next commit."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Instance
from data_pipeline.store import slots
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.transfer.stable_hash import fingerprint

NOT_MADE = fingerprint("not made")
"""The data version of what was not made."""


def unmade_row(table: StageTable, run_id: str, sibling: CatalogRow | None) -> CatalogRow:
    """Return the row of an output that was not made.

    Args:
        table: Stage and name.
        run_id: The run.
        sibling: The row of an output that the same step has made; None where there is none.
    """
    row = CatalogRow(table.stage, table.name, "absent", NOT_MADE, run_id=run_id)
    if sibling is None:
        return row
    key = None
    if sibling.cache_key is not None:
        key = Identity.from_row(sibling).cache_key(str(table), sibling.inputs)
    return replace(
        row,
        cache_key=key,
        code_version=sibling.code_version,
        code_parts=sibling.code_parts,
        identity=sibling.identity,
        inputs=sibling.inputs,
    )


def leaving(
    instance: Instance, step: str, earlier: CatalogRow, row: CatalogRow, readers: Collection[str]
) -> str:
    """Say that a result leaves its stage with the next commit, and who read it.

    Args:
        instance: Whose result.
        step: The step that does not make it any more.
        earlier: The row of the result.
        row: The row that takes its place.
        readers: The assets that read it.
    """
    stays = slots.is_kept(instance, earlier, row)
    fate = "is kept as an earlier version" if stays else "is dropped"
    read = (
        f" It is read by {', '.join(f'`{name}`' for name in readers)}: what was made of it stays "
        "as it is until it is made again."
        if readers
        else ""
    )
    return (
        f"`{row.table}` was not made by step `{step}`, so it leaves stage `{row.stage}` with the "
        f"next commit; what there was {fate}.{read}"
    )


def readers(
    instance_id: str, table: StageTable, known: Mapping[tuple[str, StageTable], CatalogRow]
) -> set[str]:
    """Return the assets that were made of a table, those of other instances with their id.

    Args:
        instance_id: Whose table.
        table: The table.
        known: What the catalogs know, by instance id and table.
    """
    name = f"{instance_id}/{table}"
    return {
        str(other) if of == instance_id else f"{other} ({of})"
        for (of, other), row in known.items()
        if name in row.inputs and not row.is_absent
    }
