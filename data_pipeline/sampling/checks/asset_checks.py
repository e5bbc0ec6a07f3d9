"""The asset checks: primary keys, row counts, and relationships no worse than in the source."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable, few
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import MissingRightError
from data_pipeline.instances import Instance
from data_pipeline.results.data_checks import Finding, check_primary_key, check_row_count
from data_pipeline.runs.step_reads import lock
from data_pipeline.sampling.checks.relationships_and_row_counts import (
    DeclaredTable,
    DeclaredTables,
    check_relationships,
    compare_row_count,
    sources,
)
from data_pipeline.store.lookup import committed

PRIMARY_KEY = "primary_key"
ROW_COUNT = "row_count"
RELATIONSHIPS = "relationships"

_DESCRIPTIONS = {
    PRIMARY_KEY: "The primary key is unique and never NULL.",
    ROW_COUNT: "The table is not empty, has the rows that were committed, and a sample has no more "
    "rows than its source.",
    RELATIONSHIPS: "References find their row; in a sample, at least as often as in its source.",
}


def table_checks(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetChecksDefinition]:
    """Return the checks of all tables that the assets declare, one step for each stage.

    Every table is checked for its number of rows, and for its primary key and its relationships
    where its asset declares them (`table_properties`). Blobs have no checks.

    A raw table that was not loaded by an instance, since the instance copies its inputs, has no
    result there.
    """
    tables = DeclaredTables(assets)
    stages: defaultdict[str, list[DeclaredTable]] = defaultdict(list)
    for item in tables.values():
        stages[item.table.stage].append(item)
    return [_stage_checks(stage, items, tables) for stage, items in stages.items()]


def _stage_checks(
    stage: str, items: Sequence[DeclaredTable], tables: DeclaredTables
) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        name=f"{stage}__asset_checks",
        specs=[spec for item in items for spec in _specs(item, tables)],
        description=f"Checks the tables of stage `{stage}`, inside the database.",
        compute_kind="postgres",
        can_subset=True,
        required_resource_keys={"instance"},
    )
    def check_stage(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        instance: Instance = context.resources.instance.current
        unchecked: dict[str, None] = {}
        for key in sorted(context.selected_asset_check_keys):
            item = tables[StageTable.from_path(key.asset_key.path)]
            finding = _find(instance, item, key.name, tables, context.run.run_id)
            if finding is None:
                unchecked[f"`{item.table}`"] = None
            else:
                yield finding.result(key)
        if unchecked:
            context.log.info(
                f"Nothing to check: instance `{instance.name}` does not load {few([*unchecked])} "
                "but copies its inputs, or they were not made"
            )

    return check_stage


def _specs(item: DeclaredTable, tables: DeclaredTables) -> Iterator[dg.AssetCheckSpec]:
    if item.properties.primary_key:
        yield _spec(item, PRIMARY_KEY)
    yield _spec(item, ROW_COUNT)
    if item.properties.foreign_keys:
        others = {tables.referenced(item.table, key) for key in item.properties.foreign_keys}
        known = [
            tables[other].key for other in sorted(others - {item.table}, key=str) if other in tables
        ]
        yield _spec(item, RELATIONSHIPS, known)


def _spec(
    item: DeclaredTable, name: str, dependencies: Sequence[dg.AssetKey] = ()
) -> dg.AssetCheckSpec:
    with warnings.catch_warnings():
        # Without partitions, the result of one instance would take the place of another's in the
        # UI. `test_partitions.py` fails when this preview changes.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.AssetCheckSpec(
            name,
            asset=item.key,
            description=_DESCRIPTIONS[name],
            additional_deps=dependencies,
            partitions_def=item.partitions_def,
        )


def _find(
    instance: Instance, item: DeclaredTable, check: str, tables: DeclaredTables, run_id: str
) -> Finding | None:
    """Return what a check finds on an instance; None where there is nothing to check."""
    relation = committed(instance, item.table)
    try:
        with database(instance).begin() as connection:
            found = lock(connection, run_id, list(sources(instance, item, tables)))
            seen = found[instance.instance_id, item.table]
            relation, row = seen.relation, seen.row
            if row is not None and row.is_absent:
                return None
            if relation_kind(connection, relation) is None:
                if row is None and instance.copies and tables.is_raw(item.table):
                    return None
                return Finding(f"{relation} does not exist. Build it: {instance.build_command}")
            properties = item.properties.merged(row.declared) if row else item.properties
            if check == PRIMARY_KEY:
                return check_primary_key(connection, relation, properties.primary_key)
            if check == ROW_COUNT:
                counted = check_row_count(connection, relation, row)
                return compare_row_count(connection, instance, item, row, counted)
            keys = properties.foreign_keys
            return check_relationships(connection, instance, item, keys, tables, found)
    except MissingRightError as error:
        return Finding(f"{relation} cannot be checked. {error}")
    except sa.exc.ProgrammingError as error:
        diagnosis = getattr(error.orig, "diag", None)
        reason = getattr(diagnosis, "message_primary", None) or error.orig
        return Finding(
            f"{relation} does not fit what its asset declares. PostgreSQL says: {reason}. "
            "Correct the columns that `primary_key` names, or the table."
        )
