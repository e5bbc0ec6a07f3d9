"""What users build on the table `full_s.t`, and what they change there."""

PARTS = """
CREATE SCHEMA reports;
CREATE TABLE reports.other AS SELECT 1 AS a;
CREATE FUNCTION reports.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noted BEFORE INSERT ON full_s.t FOR EACH ROW EXECUTE FUNCTION reports.noted();
CREATE POLICY p ON full_s.t USING (a > 0);
CREATE INDEX i ON full_s.t (a);
CREATE STATISTICS reports.st ON a, (a + 1) FROM full_s.t;
ALTER TABLE full_s.t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;
"""
VIEWS = """
CREATE FUNCTION reports.f() RETURNS bigint BEGIN ATOMIC SELECT max(a) FROM full_s.t; END;
CREATE VIEW reports.across AS SELECT t.a FROM full_s.t JOIN reports.other USING (a);
CREATE VIEW reports.v AS SELECT a FROM full_s.t;
"""

READABLE = "SELECT has_table_privilege('pg_monitor', '{}', 'SELECT')"

# What a user does, and a query that finds it done, with what it gives.
CHANGES = {
    "replaces a table behind a view": (
        "DROP VIEW reports.across; DROP TABLE reports.other; CREATE TABLE reports.other (a int); "
        "CREATE VIEW reports.across AS SELECT t.a FROM full_s.t JOIN reports.other USING (a)",
        "SELECT count(*) FROM reports.across",
        0,
    ),
    "drops a view": ("DROP VIEW reports.v", "SELECT to_regclass('reports.v')", None),
    "replaces a view": (
        "CREATE OR REPLACE VIEW reports.v AS SELECT a + 40 AS a FROM full_s.t",
        "SELECT a FROM reports.v",
        42,
    ),
    "builds a view on a view": (
        "CREATE VIEW reports.late AS SELECT a FROM reports.v",
        "SELECT a FROM reports.late",
        2,
    ),
    "builds a view on the table": (
        "CREATE VIEW reports.late AS SELECT a FROM full_s.t",
        "SELECT a FROM reports.late",
        2,
    ),
    "grants the table": (
        "GRANT SELECT ON full_s.t TO pg_monitor", READABLE.format("full_s.t"), True
    ),
    "grants a view": (
        "GRANT SELECT ON reports.v TO pg_monitor", READABLE.format("reports.v"), True
    ),
    "grants a column": (
        "GRANT SELECT (a) ON full_s.t TO pg_monitor",
        "SELECT has_column_privilege('pg_monitor', 'full_s.t', 'a', 'SELECT')",
        True,
    ),
    "comments": (
        "COMMENT ON TABLE full_s.t IS 'new'", "SELECT obj_description('full_s.t'::regclass)", "new"
    ),
    "adapts a policy": (
        "ALTER POLICY p ON full_s.t USING (a > 1)",
        "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy",
        "(a > 1)",
    ),
    "disables a trigger": (
        "ALTER TABLE full_s.t DISABLE TRIGGER noted",
        "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'noted'",
        "D",
    ),
    "replaces a function": (
        "CREATE OR REPLACE FUNCTION reports.f() RETURNS bigint "
        "BEGIN ATOMIC SELECT 40 + max(a) FROM full_s.t; END",
        "SELECT reports.f()",
        42,
    ),
    "drops a function": ("DROP FUNCTION reports.f()", "SELECT to_regproc('reports.f')", None),
    "adds an index": (
        "CREATE INDEX late ON full_s.t (a)", "SELECT to_regclass('full_s.late') IS NOT NULL", True
    ),
}  # fmt: skip

# A change for which nobody waits.
FREE_CHANGES = {
    "sets default privileges": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA reports GRANT EXECUTE ON FUNCTIONS TO pg_monitor",
        "SELECT count(*) FROM pg_proc, aclexplode(proacl) WHERE proname = 'f' "
        "AND grantee = 'pg_monitor'::regrole",
        0,
    ),
}

# Changes that views on the table keep out: reading their definitions locks it.
CHANGES_OF_PARTS = {
    "grants the table": CHANGES["grants the table"],
    "adapts a policy": CHANGES["adapts a policy"],
    "disables a trigger": CHANGES["disables a trigger"],
    "renames an index": (
        "ALTER INDEX full_s.i RENAME TO better", "SELECT to_regclass('full_s.better')::text",
        "full_s.better",
    ),
    "sets an option of an index": (
        "ALTER INDEX full_s.i SET (fillfactor = 50)",
        "SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE relname = 'i'",
        "fillfactor=50",
    ),
    "comments on an index": (
        "COMMENT ON INDEX full_s.i IS 'new'",
        "SELECT obj_description('full_s.i'::regclass)",
        "new",
    ),
    "comments on a policy": (
        "COMMENT ON POLICY p ON full_s.t IS 'new'",
        "SELECT obj_description(oid, 'pg_policy') FROM pg_policy",
        "new",
    ),
    "comments on a column": (
        "COMMENT ON COLUMN full_s.t.a IS 'new'",
        "SELECT col_description('full_s.t'::regclass, 1)",
        "new",
    ),
    "validates a constraint": (
        "ALTER TABLE full_s.t VALIDATE CONSTRAINT c",
        "SELECT convalidated FROM pg_constraint WHERE conname = 'c'",
        True,
    ),
    "sets the target of statistics": (
        "ALTER STATISTICS reports.st SET STATISTICS 7",
        "SELECT stxstattarget FROM pg_statistic_ext",
        7,
    ),
    "renames a schema": (
        "ALTER SCHEMA reports RENAME TO papers",
        "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'noted'",
        "papers.noted",
    ),
}  # fmt: skip
