"""Reports that are in the database already."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import TableNotFoundError
from data_pipeline.instances import Instance
from data_pipeline.instances.instance import SAMPLE_STAGE
from data_pipeline.sampling.earlier.kept_facts import keep_facts, known_facts
from data_pipeline.sampling.engine.population import changing
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.sampling.report.figures.comparison import (
    Report,
    compared_sample,
    unsampled_report,
)
from data_pipeline.sampling.report.figures.figure import COLUMNS, Compared, Figure, figures_of
from data_pipeline.store import catalog
from data_pipeline.store.lookup import committed, made_from
from data_pipeline.store.reading import catalog_row_of, known_properties, reference
from data_pipeline.store.table_properties import Properties
from data_pipeline.transfer.stable_hash import stable_hash


def has_other_attrs(instance: Instance, made: sa.Table) -> bool:
    """Whether a table was made with other attrs, so that another run may give another sample.

    Args:
        instance: The instance.
        made: A table of it, made by a step that can see the attrs.
    """
    row = catalog_row_of(made)
    before = None if row is None else row.identity.get("attrs")
    return before is not None and before != stable_hash(instance.attrs)


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
    """Return the committed reports of an instance.

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


Found = Mapping[str, tuple[sa.Table, sa.Table, sa.Table]]
"""Source, rows and roles of each input table."""


@dataclass(frozen=True)
class Inputs:
    """The input tables of a stage.

    Attributes:
        stage: The stage.
        raw: The raw table behind each.
        declared: What the raw assets declare of them.
    """

    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]

    def plan(self, instance: Instance, sources: Mapping[str, sa.Table]) -> SamplePlan | None:
        """Return what the rows were chosen by; None where no sample is specified.

        Args:
            instance: The instance.
            sources: The source of each input table.
        """
        properties = {
            name: known_properties(table, self.declared[name]) for name, table in sources.items()
        }
        settings = instance.sample
        graph = schema_graph(self.stage, self.raw, properties)
        return None if settings is None else sample_plan(settings, graph)


def report_of_instance(
    instance: Instance, inputs: Inputs, found: Found, log: logging.Logger
) -> Report:
    """Return the report of an instance.

    Args:
        instance: The instance.
        inputs: Its input tables.
        found: Their relations, which must not be replaced meanwhile.
        log: The log of the run.
    """
    plan = inputs.plan(instance, {name: source for name, (source, _, _) in found.items()})
    with database(instance).begin() as connection:
        if plan is None or plan.settings.report == "off":
            rows = {name: table for name, (_, table, _) in found.items()}
            return unsampled_report(connection, rows, _why(instance, plan))
        conditions = {
            name: {item.number: item.where for item in plan.graph.of_child(name) if item.where}
            for name in found
        }
        tables = {name: Compared(name, *found[name], conditions[name]) for name in found}
        place = ", ".join([f"report of {inputs.stage}", *sorted(map(str, inputs.raw.values()))])
        sources = {name: table.source for name, table in tables.items()}
        rows_of = {name: catalog_row_of(table) for name, table in sources.items()}
        versions = {name: row.data_version if row else None for name, row in rows_of.items()}
        facts = known_facts(connection, instance, place, sources, versions)
        with connection.begin_nested() as trial:
            space = Workspace.open(connection, instance.sample_work_schema, place)
            facts.changing = frozenset(changing(space, plan, sources))
            trial.rollback()
        report = compared_sample(connection, plan, tables, facts)
        keep_facts(connection, instance, place, frozenset(tables), facts)
    origins = {
        name: made_from(instance, raw, StageTable(inputs.stage, name))
        for name, raw in inputs.raw.items()
    }
    changed = [name for name in tables if _has_changed(origins[name], tables[name])]
    for name in changed:
        source, behind = origins[name]
        log.warning(
            f"`{behind}` of `{source.name}` has changed since `{name}` was copied from it. Run "
            f"`{instance.name}` again for a true comparison."
        )
    notes = [_note(name) for name in changed]
    notes += [
        Figure(name, "depends on time", None, text=_CHANGING) for name in sorted(facts.changing)
    ]
    return replace(report, figures=(*report.figures, *notes))


_CHANGING = (
    "a condition or mask asks more than the row, such as the time: figures of the source are those "
    "of this report, rows those of their draw"
)


def _why(instance: Instance, plan: SamplePlan | None) -> str:
    if plan is not None:
        return "not compared with the source: `sample: {report: off}`"
    if not instance.copies:
        return f"nothing is sampled: `{instance.name}` loads for itself"
    return "copied by `copy_filter_...`, not by a `sample` specification: nothing to compare"


def _has_changed(behind: tuple[Instance, StageTable], table: Compared) -> bool:
    """Whether the source is not what the rows were copied from."""
    copy, now = catalog_row_of(table.sample), catalog_row_of(table.source)
    if copy is None or now is None:
        return False
    version = copy.inputs.get(f"{behind[0].instance_id}/{behind[1]}")
    return version is not None and version != now.data_version


def _note(name: str) -> Figure:
    text = "the source has changed since it was copied: other figures say that too"
    return Figure(name, "source has changed", None, text=text)
