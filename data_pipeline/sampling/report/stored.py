"""Reports that are in the database already."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.errors import TableNotFoundError
from data_pipeline.instances import Instance
from data_pipeline.instances.instance import SAMPLE_STAGE
from data_pipeline.sampling.report.figures import COLUMNS, Figure, figures_of
from data_pipeline.sampling.report.made_with import has_other_attrs
from data_pipeline.tables import catalog
from data_pipeline.tables.connection import database
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.reference import reference
from data_pipeline.tables.visible import committed

_SUFFIX = "__report"


@dataclass(frozen=True)
class StoredReport:
    """A report.

    Attributes:
        stage: The stage of the input tables.
        made: When it was committed.
        is_current: Whether the instance had the attrs of today; where it had not, a run may give
            another sample.
        figures: What it says.
    """

    stage: str
    made: str
    is_current: bool
    figures: tuple[Figure, ...]


def stored_reports(instance: Instance, stage: str | None = None) -> list[StoredReport]:
    """Gives the committed reports of an instance.

    Args:
        instance: The instance.
        stage: Only that of this stage.

    Raises:
        TableNotFoundError: There is none.
    """
    with database(instance).begin() as connection:
        rows = catalog.rows(connection, instance.catalog_schema)
        found = _reports(connection, instance, rows)
    chosen = [report for report in found if stage in (None, report.stage)]
    if not chosen:
        raise _missing(instance, stage, [report.stage for report in found], bool(rows))
    return chosen


def _reports(
    connection: sa.Connection, instance: Instance, rows: Mapping[StageTable, catalog.CatalogRow]
) -> list[StoredReport]:
    found = []
    for table, row in rows.items():
        if table.stage != SAMPLE_STAGE or not table.name.endswith(_SUFFIX):
            continue
        relation = reference(connection, committed(instance, table), row)
        if not set(COLUMNS) <= set(relation.c.keys()):
            continue  # the roles of a raw table that is called `report`
        lines = connection.execute(sa.select(relation).order_by(relation.c.number))
        made = f"{row.committed_at:%Y-%m-%d %H:%M:%S}" if row.committed_at else "not yet"
        stage, is_current = (
            table.name.removesuffix(_SUFFIX),
            not has_other_attrs(instance, relation),
        )
        found.append(StoredReport(stage, made, is_current, tuple(figures_of(lines))))
    return found


def _missing(
    instance: Instance, stage: str | None, others: list[str], is_built: bool
) -> TableNotFoundError:
    wanted = f"report of stage `{stage}`" if stage else "report"
    if not is_built:
        reason = "nothing has been built there yet"
    elif others:
        reason = f"there are reports of {', '.join(f'`{name}`' for name in others)}"
    else:
        reason = "none of its stages is made by `sampled_inputs_with_report`, or that was not run"
    return TableNotFoundError(
        f"Instance `{instance.name}` has no {wanted}: {reason}. Build it: {instance.build_command}"
    )
