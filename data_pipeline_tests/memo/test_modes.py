"""Which assets are computed after which change, in which mode: the whole matrix, as call counts."""

import pytest
import sqlalchemy as sa

from data_pipeline_tests.memo.world import World

MODES = (
    "normal",
    "ignore_fresh_input",
    "assert_no_fresh_input",
    "force_fresh_input",
    "force_cache_invalid",
)
EVERYTHING = "t b c query"
REFUSED = "(refused)"

# After a first run, this changes; then these assets are computed, by mode in the order of MODES.
MATRIX = {
    "nothing": ("", "", "", "t", EVERYTHING),
    "the source's data": (EVERYTHING, "", "", EVERYTHING, EVERYTHING),
    "code of the raw table": ("t", "t", REFUSED, "t", EVERYTHING),
    "code of b, same result": ("b", "b", "b", "t b", EVERYTHING),
    "code of b, other result": ("b c query", "b c query", "b c query", EVERYTHING, EVERYTHING),
    "code of c": ("c", "c", "c", "t c", EVERYTHING),
    "properties of b": ("b", "b", "b", "t b", EVERYTHING),
    "b was dropped": ("b", "b", "b", "t b", EVERYTHING),
    "raw was dropped": ("t", "t", REFUSED, "t", EVERYTHING),
}


def change(world: World, engine: sa.Engine, what: str) -> None:
    """Changes the world as a row of the matrix says."""
    if what == "the source's data":
        world.state["source"] = 5
    elif what == "code of the raw table":
        world.state["versions"]["t"] = "2"
    elif what.startswith("code of b"):
        world.state["versions"]["b"] = "2"
        world.state["factor"] = 3 if what.endswith("other result") else 2
    elif what == "code of c":
        world.state["versions"]["c"] = "2"
    elif what == "properties of b":
        world.state["properties"] = {"indexes": ["v"]}
    elif what.endswith("was dropped"):
        table = "full_stage_1.b" if what.startswith("b") else "full_raw.t CASCADE"
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP TABLE {table}"))


@pytest.mark.parametrize("what", MATRIX)
def test_matrix(world: World, pipeline_database: sa.Engine, what: str) -> None:
    expected = dict(zip(MODES, MATRIX[what], strict=True))
    world.run()
    for mode in MODES:
        if mode != MODES[0]:
            restored(world, pipeline_database)
        change(world, pipeline_database, what)
        run = world.run(tags={"dagster/partition": "full", "data_pipeline/cache_validation": mode})
        assert run.success == (expected[mode] != REFUSED), mode
        computed = "" if expected[mode] == REFUSED else expected[mode]
        assert dict(world.calls) == dict.fromkeys(computed.split(), 1), mode


def restored(world: World, engine: sa.Engine) -> None:
    """Brings the world back to its first state, with nothing kept aside."""
    world.state |= {"source": 1, "factor": 2, "properties": {}}
    world.state["versions"] = {"t": "1", "b": "1", "c": "1", "query": "1"}
    assert world.run().success
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS full_catalog.slots"))
