"""Each invariant notices what breaks it."""

from data_pipeline_tests.proofs.invariants import broken, invariants
from data_pipeline_tests.proofs.world import World

FILES = "every file of a blob is referred to"
SABOTAGE = {
    "every table and view in the catalog is there (but those that were dropped by hand)": (
        "DROP TABLE full_shop.summary CASCADE"
    ),
    "every table and view has as many rows as the catalog says": (
        "DELETE FROM full_shop.totals WHERE id = 3"
    ),
    "a table with slices has the rows of all of them": (
        "UPDATE full_catalog.tables SET kind = 'sliced', row_count = 7 WHERE name = 'totals'"
    ),
    "every slice is a partition of its table, and has the rows of one generation": (
        "ALTER TABLE full_shop.totals ADD made int; "
        "UPDATE full_catalog.tables SET slice = '{\"key\": \"a day\"}' WHERE name = 'totals'"
    ),
    "every relation in a stage is in the catalog, or somebody's own": (
        "CREATE VIEW full_shop.left_over AS SELECT 1 AS one"
    ),
    "no blob in the catalog is a relation too": "CREATE TABLE full_shop.model ()",
    "every kept version is there, and every relation among the kept ones is listed": """
        CREATE TABLE IF NOT EXISTS full_catalog.slots AS
            SELECT * FROM full_catalog.tables WHERE false;
        CREATE SCHEMA IF NOT EXISTS full_shop__slots;
        CREATE TABLE full_shop__slots.left_over ()
    """,
    "what users built on tables is there, and those may read it who were allowed to": (
        "DROP FUNCTION reports.total_of"
    ),
    "a table that grows has each of its increments once": (
        "INSERT INTO full_shop.journal SELECT * FROM full_shop.journal"
    ),
    "a table that grows has come to the generation of its stage": (
        "UPDATE full_shop.journal SET number = 99"
    ),
    "nobody may read what nobody allowed": "GRANT SELECT ON full_shop.ranks TO PUBLIC",
    "no result was made from inputs of several generations": (
        "UPDATE full_shop.ranks SET generation = -1"
    ),
    "the tables of a stage have one generation": "UPDATE full_shop.ranks SET generation = 2",
    "stages that read from each other have one generation": (
        "UPDATE full_ping.serve SET generation = 2; UPDATE full_ping.forehand SET generation = 2"
    ),
    "a blob has the generation of its stage": ("UPDATE full_pong.backhand SET generation = 2"),
    "every blob in the catalog has its file": (
        "UPDATE full_catalog.tables SET location = 'nowhere' WHERE name = 'model'"
    ),
    FILES: "DELETE FROM full_catalog.tables WHERE name = 'model'",
    "nothing is left in staging": (
        "CREATE SCHEMA IF NOT EXISTS full_shop__staging; CREATE TABLE full_shop__staging.left ()"
    ),
    "no table is listed as staged": """
        DROP TABLE IF EXISTS full_catalog.staged;
        CREATE TABLE full_catalog.staged AS SELECT 'shop' AS stage, 'totals' AS name
    """,
    "no run is listed as running": """
        DROP TABLE IF EXISTS full_catalog.runs;
        CREATE TABLE full_catalog.runs AS SELECT 'a run' AS run_id
    """,
    "no session holds the lock of a stage": (
        "SELECT pg_advisory_xact_lock(hashtextextended('data_pipeline:stage:full_shop', 0))"
    ),
    "every result was computed from what is committed (slices have runs of their own)": (
        "UPDATE full_catalog.tables SET data_version = 'other' WHERE name = 'backhand'"
    ),
    "all stages have one generation, that of the run": (
        "UPDATE full_raw.orders SET generation = 2; UPDATE full_raw.customers SET generation = 2"
    ),
}


def test_every_invariant_notices_what_breaks_it(built_on: World) -> None:
    built_on.check("always", "whole", "finished", generation=1)
    instance = built_on.instance("full")
    for name, sabotage in SABOTAGE.items():
        with built_on.engine.connect() as connection:
            connection.exec_driver_sql(sabotage, execution_options={"no_parameters": True})
            found = broken(connection, instance, "always", "whole", "finished", generation=1)
            assert any(line.startswith(f"{name}: ") for line in found), (name, found)
            connection.rollback()


def test_all_invariants_are_tried() -> None:
    assert {item.name for item in invariants() if item.moment != "setup"} <= SABOTAGE.keys()
