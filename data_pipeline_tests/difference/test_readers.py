"""Who may compare: a reader of the tables and of the catalog, and nobody else."""

import uuid

import pytest
import sqlalchemy as sa

from data_pipeline import diff
from data_pipeline.errors import MissingRightError
from data_pipeline_tests.difference.test_versions import assets, statuses
from data_pipeline_tests.io_manager.runs import execute, run


def test_a_reader_is_told_which_right_is_missing(
    pipeline_database: sa.Engine, superuser: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*assets("1", 1, 2))
    run(*assets("2", 1, 3))
    reader = f"reader_{uuid.uuid4().hex[:8]}"
    execute(superuser, f"CREATE ROLE {reader} LOGIN PASSWORD 'x'")
    url = superuser.url.set(drivername="postgresql", username=reader, password="x")
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url.render_as_string(hide_password=False))
    try:
        with pytest.raises(MissingRightError, match=f"Role `{reader}` lacks a right"):
            diff("full")
        schemas = ("full_catalog", "full_s", "full_s__slots")
        for schema in schemas:
            execute(superuser, f"GRANT USAGE ON SCHEMA {schema} TO {reader}")
        execute(superuser, f"GRANT SELECT ON ALL TABLES IN SCHEMA full_catalog, full_s TO {reader}")
        with pytest.raises(MissingRightError, match="full_s__slots"):
            diff("full")
        execute(superuser, f"GRANT SELECT ON ALL TABLES IN SCHEMA full_s__slots TO {reader}")
        assert statuses(diff("full")) == {"s/t": "changed"}
    finally:
        execute(superuser, f"DROP OWNED BY {reader}", f"DROP ROLE {reader}")
