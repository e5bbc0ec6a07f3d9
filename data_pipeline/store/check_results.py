"""What asset checks said of results, so that everybody who shares a database knows it.

Each has a row in `<instance_id>_catalog.checks`, for each version of the data that is still there.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import StageTable, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.instances import Instance
from data_pipeline.store import catalog

CHECKS = "checks"

_PUT = stored_query(__file__, "check_results_put")
_LAST = stored_query(__file__, "check_results_last")
_READABLE = sa.text(
    "SELECT s FROM unnest(CAST(:names AS text[])) s "
    "WHERE to_regclass(s) IS NOT NULL AND has_table_privilege(s, 'SELECT')"
)


@dataclass(frozen=True)
class CheckResult:
    """What a check said of a result.

    Attributes:
        table: What was checked.
        check: The name of the check.
        data_version: The version of the data that it saw.
        passed: Whether it passed; None where there was nothing to check.
        severity: `ERROR` or `WARN`.
        description: What it found, in words.
        evaluation: All that Dagster records of it, as Dagster writes it.
        run_id: The run that evaluated it.
        code_version: Identity of the code of the check; None where it is part of an asset.
        evaluated_at: When.
    """

    table: StageTable
    check: str
    data_version: str | None = None
    passed: bool | None = None
    severity: str | None = None
    description: str | None = None
    evaluation: str | None = None
    run_id: str | None = None
    code_version: str | None = None
    evaluated_at: datetime | None = None

    @property
    def blocks(self) -> bool:
        """Whether nothing may be built on the result, if the check is a blocking one."""
        return self.passed is False and self.severity == "ERROR"


def put(connection: sa.Connection, instance: Instance, results: Sequence[CheckResult]) -> None:
    """Write what a run has found, in place of what was found of the same version before.

    What is known of versions that are gone is forgotten.

    Args:
        connection: A transaction.
        instance: The instance.
        results: The results of one run; those without a version are of what it has staged, or of
            what is committed now.
    """
    if not catalog.exists(connection, instance.catalog_schema, CHECKS):
        return  # nothing was ever made here
    rows = [
        {
            "stage": item.table.stage,
            "name": item.table.name,
            "check_name": item.check,
            "data_version": item.data_version,
            "passed": item.passed,
            "severity": item.severity,
            "description": item.description and item.description.replace("\x00", ""),
            "evaluation": item.evaluation,
            "run_id": item.run_id,
            "code_version": item.code_version,
        }
        for item in results
    ]
    run(connection, _PUT.format(rows=literal(json.dumps(rows)), **_names(instance)))


def last(
    connection: sa.Connection, instances: Iterable[Instance]
) -> dict[tuple[str, StageTable, str], CheckResult]:
    """Return what is known of the committed results of instances, by instance id and check.

    Catalogs that are not there, or whose results this role may not read, have none.
    """
    by_name = {quoted(item.catalog_schema, CHECKS): item for item in instances}
    readable = connection.scalars(_READABLE, {"names": list(by_name)}).all()
    if not readable:
        return {}
    queries = (
        _LAST.format(instance_id=literal(by_name[name].instance_id), **_names(by_name[name]))
        for name in readable
    )
    found = {}
    for instance_id, stage, name, *values in run(connection, " UNION ALL ".join(queries)):
        result = CheckResult(StageTable(stage, name), *values)
        found[instance_id, result.table, result.check] = result
    return found


def _names(instance: Instance) -> dict[str, str]:
    names = (CHECKS, "tables", "slots", "staged")
    return {name: quoted(instance.catalog_schema, name) for name in names}
