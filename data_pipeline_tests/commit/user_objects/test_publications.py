"""A table stays in the publications in which it is, with columns and filter."""

import pytest

from data_pipeline_tests.commit.user_objects.conftest import Stage

_MEMBERS = """
SELECT pubname, prrelid::regclass::text, pg_get_expr(prqual, prrelid),
       ARRAY(SELECT attname::text FROM pg_attribute
             WHERE attrelid = prrelid AND attnum = ANY (prattrs) ORDER BY 1)
FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid ORDER BY 1, 2
"""
_IDENTITY = "SELECT relreplident::text FROM pg_class WHERE oid = 's.t'::regclass"


def test_membership_survives(stage: Stage) -> None:
    if int(stage.rows("SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("before PostgreSQL 15, publications have no list of columns")
    stage.create(
        "CREATE TABLE t (a int, b text)",
        'CREATE PUBLICATION "of all" FOR TABLE t',
        "CREATE PUBLICATION few FOR TABLE t (b, a) WHERE (a > 3 AND b <> '%')",
    )
    before = stage.rows(_MEMBERS)
    for put_aside in (False, True):
        stage.commit("CREATE TABLE t (b text, a int)", put_aside=put_aside)
        assert stage.rows(_MEMBERS) == before


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("REPLICA IDENTITY FULL", "f"),
        ("REPLICA IDENTITY NOTHING", "n"),
        ("REPLICA IDENTITY USING INDEX by_user", "i"),
    ],
)
def test_replica_identity_survives(stage: Stage, statement: str, expected: str) -> None:
    stage.create(
        "CREATE TABLE t (a int NOT NULL)",
        "CREATE UNIQUE INDEX by_user ON t (a)",
        f"ALTER TABLE t {statement}",
    )
    stage.commit("CREATE TABLE t (a int NOT NULL)")
    assert stage.rows(_IDENTITY) == [(expected,)]
