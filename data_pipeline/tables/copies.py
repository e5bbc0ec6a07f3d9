"""Input tables and what they are made from: a raw table, or the input table of a copy."""

import dagster as dg

from data_pipeline.instances import Instance
from data_pipeline.tables.names import StageTable

SOURCE_METADATA_KEY = "data_pipeline/raw_table"
"""Where an input table's metadata names the raw table behind it (`stage/table`)."""

COMPARED_KEY = "data_pipeline/compared"
"""Where the metadata of an asset that compares input tables with what they were copied from names
the input table of each raw table that it reads, both as `stage/table`. It copies no rows."""


def made_from(instance: Instance, raw: StageTable, own: StageTable) -> tuple[Instance, StageTable]:
    """Return what an input table is made from, with its instance.

    That is the raw table of the instance that is copied from, or of this one where it loads for
    itself. A copy has no raw tables: of that, it is the same input table.

    Args:
        instance: The instance of the input table.
        raw: The raw table behind it.
        own: The input table.
    """
    source = instance.source
    if source is None:
        return instance, raw
    return source, own if source.copies else raw


def read_instead(
    asset: dg.AssetsDefinition, instance: Instance, source: Instance, table: StageTable
) -> tuple[Instance, StageTable]:
    """Return what a step reads where Dagster, which knows raw tables only, names one of the root.

    Args:
        asset: What the step computes.
        instance: The instance that it is computed for.
        source: The instance that Dagster names.
        table: The table that Dagster names.
    """
    if instance.source is None or source.instance_id != instance.root_source.instance_id:
        return source, table
    own = _input_table(asset, table) if instance.source.copies else None
    return (source, table) if own is None else (instance.source, own)


def takes_rows(spec: dg.AssetSpec) -> bool:
    """Whether an asset that reads raw tables of another instance takes rows of them."""
    return COMPARED_KEY not in spec.metadata


def _input_table(asset: dg.AssetsDefinition, raw: StageTable) -> StageTable | None:
    """Return the input table of a raw table that a step makes or compares; None if it has none."""
    name = str(raw)
    for spec in asset.specs:
        if spec.metadata.get(SOURCE_METADATA_KEY) == name:
            return StageTable.from_path(spec.key.path)
        compared = spec.metadata.get(COMPARED_KEY, {})
        if own := getattr(compared, "data", compared).get(name):
            return StageTable.from_path(own.split("/"))
    return None
