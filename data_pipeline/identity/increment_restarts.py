"""Whether a table can grow by an increment, or has to be built from the start.

An increment rests on the rows that are there, so it must have been the same code that made them, of
inputs that went through the same code; and inputs that grow themselves must not have begun anew.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from data_pipeline.identity.change_reasons import change
from data_pipeline.identity.computation import Identity
from data_pipeline.instances.settings.caching_and_kept_versions import Validation
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.sliced_tables import code_of_slice, inputs_of_slice
from data_pipeline.transfer.stable_hash import fingerprint

Rows = Callable[[str], CatalogRow | None]
"""Gives the catalog row of `instance/stage/table`, None where there is none."""

ADDS = "adds to what is there"
FROM_START = "is built from the start"


def reason_to_start(
    name: str,
    now: Identity,
    before: CatalogRow,
    inputs: Iterable[str],
    rows: Rows,
    validation: Validation,
) -> str | None:
    """Say why a table cannot grow but has to be built from the start; None where it can grow.

    Args:
        name: The name of the asset.
        now: What its result depends on.
        before: What the catalog says of the rows that are there.
        inputs: What it reads, as `instance/stage/table`.
        rows: What the catalogs say of all that it reads, directly or by way of others.
        validation: Which results may be reused.
    """
    if not before.increment:
        return "it was not built to grow by increments"
    if validation.mode == "force_cache_invalid":
        return "everything is computed (force_cache_invalid)"
    counts_code = not validation.ignore_code_version
    if reason := change(
        name, now, Identity.from_row(before), code=counts_code, source=False, fresh=False
    ):
        return reason
    recorded: Mapping[str, str] = before.increment["lineage"]
    if new := sorted({*inputs} - recorded.keys()):
        return f"it reads {_quoted(new)}, which it did not before"
    # What has the same data may have come to them by whatever code.
    changed = [item for item in recorded if not _is_as_read(item, before, rows)]
    found = lineages(changed, rows)
    if others := sorted(item for item in changed if found[item] != recorded[item]):
        return f"input {_quoted(others)} was built from the start, by other code or as a copy"
    return None


def lineages(inputs: Iterable[str], rows: Rows) -> dict[str, str]:
    """Return what went into inputs besides data: by which code these were made, at every step.

    Of an input that grows it is the version that was built from the start, and of one that was
    copied from another instance its version: a sample may be drawn anew with other rows.
    """
    known: dict[str, str] = {}
    return {name: _lineage(name, rows, known) for name in inputs}


def _lineage(name: str, rows: Rows, known: dict[str, str]) -> str:
    if name not in known:
        known[name] = "itself"  # whatever names itself as an input
        row = rows(name)
        known[name] = "outside" if row is None else _lineage_of(name, row, rows, known)
    return known[name]


def _lineage_of(name: str, row: CatalogRow, rows: Rows, known: dict[str, str]) -> str:
    if row.increment:
        return str(row.increment["base"])
    code, inputs = _code(row), _inputs(row)
    own = name.partition("/")[0]
    is_copy = any(item.partition("/")[0] != own for item in inputs)
    if is_copy or code is None:
        return row.data_version
    return fingerprint(*code, {item: _lineage(item, rows, known) for item in inputs})


def _code(row: CatalogRow) -> tuple[Any, ...] | None:
    """Return by which code something was made, and as what; None where that is not known."""
    if row.kind == "sliced":
        return ("lineage-slices-1", row.slice["codes"]) if row.slice.get("codes") else None
    if row.code_version is None:
        return None
    if row.slice:
        return ("lineage-slice-1", code_of_slice(row))
    identity = {key: value for key, value in row.identity.items() if key != "source"}
    return ("lineage-1", row.code_version, identity)


def _inputs(row: CatalogRow) -> Iterable[str]:
    """Return what something was made of; a slice without its key, which others have not."""
    if row.kind == "sliced":
        return cast("list[str]", row.slice.get("inputs", []))
    return inputs_of_slice(row) if row.slice else row.inputs


def _is_as_read(name: str, before: CatalogRow, rows: Rows) -> bool:
    row = rows(name)
    return row is not None and row.data_version == before.inputs.get(name)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.partition('/')[2]}`" for name in names)
