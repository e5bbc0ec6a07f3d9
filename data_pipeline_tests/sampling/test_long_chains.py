"""What a row refers to comes with it, along chains of any length, and with few locks."""

import pytest
import sqlalchemy as sa

from data_pipeline.sampling.engine import selection
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline_tests.sampling.schemas import STAGE, Schema, schema, to

LENGTH = 200
_LOCKS = sa.text("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")


@pytest.fixture
def versions(engine: sa.Engine) -> Schema:
    """Each version of a document refers to the one before it."""
    return schema(
        engine,
        [
            "CREATE TABLE versions AS SELECT g AS id, nullif(g - 1, 0) AS before "
            f"FROM generate_series(1, {LENGTH}) g",
        ],
        versions={"primary_key": "id", "foreign_keys": [to("before", "versions", "id")]},
    )


@pytest.fixture
def turns(engine: sa.Engine) -> Schema:
    """Two tables whose rows refer to each other in turns; some of the first also to a third one."""
    return schema(
        engine,
        [
            "CREATE TABLE a AS SELECT g AS id, g AS b, CASE WHEN g = 7 THEN 1 END AS c "
            f"FROM generate_series(1, {LENGTH}) g",
            f"CREATE TABLE b AS SELECT g AS id, 1 + g % {LENGTH} AS a "
            f"FROM generate_series(1, {LENGTH}) g",
            "CREATE TABLE c AS SELECT g AS id FROM generate_series(1, 20) g",
        ],
        a={"primary_key": "id", "foreign_keys": [to("b", "b", "id"), to("c", "c", "id")]},
        b={"primary_key": "id", "foreign_keys": [to("a", "a", "id")]},
        c={"primary_key": "id"},
    )


def locks_of(source: Schema, root: str) -> int:
    """Gives how many locks the choice of a minimal sample with a pin at the end leaves."""
    plan = source.plan(roots={root: {}}, size="minimal", pins={root: [{"id": LENGTH}]})
    with source.engine.connect() as connection:
        tables = {
            name: sa.Table(
                name, sa.MetaData(), schema="raw", autoload_with=connection, resolve_fks=False
            )
            for name in source.declared
        }
        selection(Workspace.open(connection, "work", STAGE), plan, tables)
        return int(connection.scalar(_LOCKS) or 0)


def test_a_chain_comes_whole(versions: Schema) -> None:
    sample = versions.sample(
        roots={"versions": {}}, size="minimal", pins={"versions": [{"id": LENGTH}]}
    )
    assert sample.keys("versions") == versions.keys("versions")
    assert sample.violations() == []


def test_the_locks_do_not_grow_with_a_chain_of_two_tables(turns: Schema) -> None:
    assert locks_of(turns, "a") < 400


def test_the_locks_do_not_grow_with_a_reference_to_the_same_table(versions: Schema) -> None:
    assert locks_of(versions, "versions") < 150
