"""Indexes, constraints, defaults, triggers, rules and options that users added to a table stay."""

from data_pipeline.store.table_properties import index_name
from data_pipeline_tests.commit.user_objects.conftest import Stage

_INDEXES = """
SELECT pg_get_indexdef(indexrelid), obj_description(indexrelid), pg_get_constraintdef(k.oid),
       indisclustered,
       ARRAY(SELECT attstattarget FROM pg_attribute WHERE attrelid = indexrelid ORDER BY attnum)
FROM pg_index LEFT JOIN pg_constraint k ON conindid = indexrelid AND conrelid = indrelid
WHERE indrelid = 's.t'::regclass ORDER BY 1
"""
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')
FROM pg_constraint WHERE conrelid = 's.t'::regclass AND contype <> 'n' ORDER BY 1
"""
_TRIGGERS = """
SELECT pg_get_triggerdef(oid), tgenabled::text, obj_description(oid, 'pg_trigger')
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT pg_get_ruledef(oid), ev_enabled::text, obj_description(oid, 'pg_rewrite')
FROM pg_rewrite WHERE ev_class IN ('s.t'::regclass, 'users.log'::regclass) ORDER BY 1
"""
_NEW = ("CREATE TABLE t (a int, b text)", "ALTER TABLE t ADD CONSTRAINT t_pkey PRIMARY KEY (a)")
_NAMES = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relnamespace = 's'::regnamespace"


def test_indexes_of_users_survive(stage: Stage) -> None:
    stage.create(
        *_NEW,
        "CREATE INDEX by_b ON t USING hash (b) WHERE a > 0",
        "CREATE INDEX by_expression ON t (lower(b), a DESC)",
        "ALTER INDEX by_expression ALTER COLUMN 1 SET STATISTICS 77",
        "ALTER TABLE t CLUSTER ON t_pkey",
        "ALTER TABLE t ADD CONSTRAINT one_b UNIQUE (b) DEFERRABLE",
        "COMMENT ON INDEX by_b IS 'of a user'",
        "COMMENT ON INDEX t_pkey IS 'of the pipeline'",
        "COMMENT ON CONSTRAINT t_pkey ON t IS 'key'",
        "COMMENT ON CONSTRAINT one_b ON t IS 'unique'",
    )
    before, constraints = stage.rows(_INDEXES), stage.rows(_CONSTRAINTS)
    assert len(before) == 4
    stage.commit(*_NEW)
    assert (stage.rows(_INDEXES), stage.rows(_CONSTRAINTS)) == (before, constraints)


def test_indexes_that_go_by_a_function_of_the_row_survive(stage: Stage) -> None:
    stage.create(
        *_NEW,
        "CREATE FUNCTION users.k(n int, r s.t DEFAULT NULL) RETURNS int LANGUAGE sql IMMUTABLE "
        "AS 'SELECT n'",
        "CREATE INDEX by_row ON t (users.k(a, t))",
        "CREATE STATISTICS users.st ON (users.k(a)), b FROM t",
        "ALTER TABLE t ADD CONSTRAINT one EXCLUDE USING btree (users.k(a) WITH =)",
    )
    before = stage.rows(_INDEXES)
    for put_aside in (False, True):
        stage.commit(*_NEW, put_aside=put_aside)
        assert stage.rows(_INDEXES) == before
        stage.execute("DROP TABLE IF EXISTS aside.t")
    assert stage.rows("SELECT count(*) FROM pg_statistic_ext") == [(1,)]


def test_an_index_that_the_pipeline_no_longer_wants_goes(stage: Stage) -> None:
    name = index_name("t", ["b"])
    stage.create(*_NEW, f'CREATE INDEX "{name}" ON t (b)', f"COMMENT ON INDEX \"{name}\" IS 'x'")
    stage.commit("CREATE TABLE t (a int, b text)")
    assert stage.rows(_NAMES) == []


def test_an_index_that_the_new_table_has_stays_as_it_is(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int, b text)", "CREATE INDEX same ON t (a)")
    stage.commit("CREATE TABLE t (a int, b text)", "CREATE INDEX same ON t (b)")
    assert "(b)" in stage.rows(_INDEXES)[0][0]


def test_an_index_on_a_column_that_is_gone_is_left_out(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int, b text)", "CREATE INDEX by_b ON t (a, b)")
    assert stage.commit("CREATE TABLE t (a int)") == []
    assert stage.rows(_NAMES) == []


def test_constraints_defaults_and_options_survive(stage: Stage) -> None:
    stage.execute("CREATE TABLE users.parent (id int PRIMARY KEY)")
    stage.create(
        "CREATE TABLE u (a int, CONSTRAINT u_pkey PRIMARY KEY (a))",
        "CREATE TABLE t (a int, b text)",
        "ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0)",
        "ALTER TABLE t ADD CONSTRAINT known FOREIGN KEY (a) REFERENCES users.parent NOT VALID",
        "ALTER TABLE t ADD CONSTRAINT ours FOREIGN KEY (a) REFERENCES u DEFERRABLE",
        "COMMENT ON CONSTRAINT positive ON t IS 'not negative'",
        "ALTER TABLE t ALTER COLUMN b SET DEFAULT 'it''s'",
        "ALTER TABLE t SET (fillfactor = 70, autovacuum_enabled = false)",
        "ALTER TABLE t SET (toast.autovacuum_enabled = false)",
    )
    before = stage.rows(_CONSTRAINTS)
    assert len(before) == 3
    for put_aside in (False, True):
        stage.commit(
            "CREATE TABLE t (b text, a int)",
            "CREATE TABLE u (a int, CONSTRAINT u_pkey PRIMARY KEY (a))",
            put_aside=put_aside,
        )
        assert stage.rows(_CONSTRAINTS) == before
        stage.execute("DROP TABLE IF EXISTS aside.t, aside.u")
    state = """
        SELECT ARRAY(SELECT unnest(reloptions) ORDER BY 1), pg_get_expr(adbin, adrelid),
               (SELECT reloptions FROM pg_class WHERE oid = c.reltoastrelid)
        FROM pg_class c JOIN pg_attrdef ON adrelid = c.oid WHERE c.oid = 's.t'::regclass
    """
    options = ["autovacuum_enabled=false", "fillfactor=70"]
    assert stage.rows(state) == [(options, "'it''s'::text", options[:1])]


def test_triggers_and_rules_survive(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "CREATE TABLE users.log (a int)",
        "CREATE FUNCTION users.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER one BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.a > 0) "
        "EXECUTE FUNCTION users.f()",
        "CREATE TRIGGER off AFTER DELETE ON t EXECUTE FUNCTION users.f()",
        "ALTER TABLE t DISABLE TRIGGER off",
        "COMMENT ON TRIGGER one ON t IS 'a trigger'",
        "CREATE RULE noted AS ON INSERT TO t DO ALSO INSERT INTO users.log VALUES (NEW.a)",
        "ALTER TABLE t DISABLE RULE noted",
        "COMMENT ON RULE noted ON t IS 'a rule'",
        "CREATE RULE back AS ON DELETE TO users.log DO ALSO INSERT INTO t VALUES (OLD.a)",
    )
    before = stage.rows(_TRIGGERS)
    assert len(before) == 4
    for put_aside in (False, True):
        stage.commit("CREATE TABLE t (a int)", put_aside=put_aside)
        assert stage.rows(_TRIGGERS) == before


_SEQUENCES = """
SELECT d.objid::regclass::text, a.attname, pg_get_expr(adbin, adrelid)
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_attrdef ON adrelid = a.attrelid AND adnum = a.attnum
WHERE d.refobjid = 's.t'::regclass AND d.deptype = 'a'
"""


def test_sequences_that_belong_to_columns_survive(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int, b text)",
        "CREATE SEQUENCE numbers OWNED BY t.a",
        "ALTER TABLE t ALTER COLUMN a SET DEFAULT nextval('s.numbers')",
        "SELECT nextval('s.numbers')",
    )
    before = stage.rows(_SEQUENCES)
    assert before == [("s.numbers", "a", "nextval('s.numbers'::regclass)")]
    for put_aside in (False, True):
        stage.commit("CREATE TABLE t (b text, a int)", put_aside=put_aside)
        assert stage.rows(_SEQUENCES) == before
    assert stage.rows("SELECT last_value FROM s.numbers") == [(1,)]
    stage.commit("CREATE TABLE t (b text)")
    assert stage.rows("SELECT last_value FROM s.numbers") == [(1,)]


def test_all_kinds_of_parts_survive_together(stage: Stage, role: str) -> None:
    kinds = [
        f'GRANT SELECT ON t TO "{role}"',
        "COMMENT ON TABLE t IS 'of a user'",
        "ALTER TABLE t SET (fillfactor = 50)",
        "ALTER TABLE t ALTER COLUMN a SET STATISTICS 7",
        "ALTER TABLE t ALTER COLUMN b SET DEFAULT 'x'",
        "CREATE INDEX i ON t (b)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)",
        "CREATE STATISTICS users.st ON a, b FROM t",
        "CREATE PUBLICATION p FOR TABLE t",
        "CREATE SEQUENCE numbers OWNED BY t.a",
        "CREATE POLICY pol ON t USING (a > 0)",
        "CREATE RULE r AS ON DELETE TO t DO ALSO SELECT 1",
        "CREATE FUNCTION users.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION users.noted()",
    ]
    stage.create("CREATE TABLE t (a int, b text)", *kinds)
    for _ in range(2):
        assert stage.commit("CREATE TABLE t (a int, b text)") == []
        assert stage.rows(_EVERYTHING) == [(1, 1, 1, 1, 1, 1, 1, 1, 1)]


_EVERYTHING = """
WITH t AS (SELECT 's.t'::regclass::oid AS oid)
SELECT (SELECT count(*) FROM pg_class JOIN t USING (oid)
        WHERE reloptions = '{fillfactor=50}' AND relacl IS NOT NULL
          AND obj_description(oid) IS NOT NULL),
       (SELECT count(*) FROM pg_attribute, t WHERE attrelid = oid AND attstattarget = 7),
       (SELECT count(*) FROM pg_attrdef, t WHERE adrelid = t.oid),
       (SELECT count(*) FROM pg_index, t WHERE indrelid = oid),
       (SELECT count(*) FROM pg_constraint, t WHERE conrelid = t.oid),
       (SELECT count(*) FROM pg_statistic_ext, t WHERE stxrelid = t.oid),
       (SELECT count(*) FROM pg_publication_rel, t WHERE prrelid = t.oid),
       (SELECT count(*) FROM pg_policy, t WHERE polrelid = t.oid),
       (SELECT count(*) FROM pg_rewrite r, pg_trigger, t WHERE ev_class = t.oid AND tgrelid = t.oid)
"""
