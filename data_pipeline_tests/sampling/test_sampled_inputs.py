"""Sampled input tables as assets: rows, roles and weights, and when they are made again."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.sampling.engine.workspace import lock_for_selection, work_table
from data_pipeline.sampling.sample_request import Request
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.sampling.shop import RunFull, Shop, configured, rows, run

MIDI: dict[str, Any] = {"roots": {"customers": {"rate": 0.2}}, "salt": 3}
TABLES = (
    "inputs.orders",
    "inputs.customers",
    "inputs.regions",
    "inputs.notes",
    "sample.inputs__orders",
)


def nodes(engine: sa.Engine) -> dict[str, Any]:
    """Gives a number for each table of midi that changes when it is written anew."""
    names = [f"midi_{name}" for name in TABLES]
    return {name: rows(engine, f"SELECT to_regclass('{name}')::oid")[0][0] for name in names}


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_the_rows_of_a_sample_refer_to_each_other(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(shop, config)
    run(shop.assets(), "midi", config)
    counted = rows(
        pipeline_database,
        """
        SELECT count(*), count(c.customer), count(r.region)
        FROM midi_inputs.orders o
        LEFT JOIN midi_inputs.customers c USING (customer)
        LEFT JOIN midi_inputs.regions r USING (region)
        """,
    )
    assert 0 < counted[0][0] < 1600
    assert len(set(counted[0])) == 1


def test_tables_that_come_whole_anyhow_stay_when_the_specification_changes(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop
) -> None:
    config = configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
    roles = "SELECT to_regclass('midi_sample.inputs__notes')::oid"
    before = [nodes(pipeline_database), rows(pipeline_database, roles)]
    changes: list[dict[str, Any]] = [{"salt": 4}, {"hubs": 50}, {"cover": "off"}]
    for change in changes:
        run(shop.assets(weights=True), "midi", configured(tmp_path, midi=MIDI | change))
        after = [nodes(pipeline_database), rows(pipeline_database, roles)]
        assert after[0]["midi_inputs.notes"] == before[0]["midi_inputs.notes"]
        assert after[1] == before[1]
        assert after[0]["midi_inputs.orders"] != before[0]["midi_inputs.orders"]
        before = after


def test_the_log_predicts_design_effects_before_the_rows_are_copied(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    shop: Shop,
    run_full: RunFull,
    capfd: pytest.CaptureFixture[str],
) -> None:
    shop.frames["orders"].loc[800:, "customer"] = 7
    config = configured(tmp_path, midi=MIDI, mini=MIDI | {"hubs": "off"})
    run_full(shop, config)
    for name, said in (
        ("midi", "is 1.5 (hubs: 1, with more than 512 each; 403.0 if there were none)"),
        ("mini", "is 403.0 (no hubs)"),
    ):
        capfd.readouterr()
        run(shop.assets(), name, config)
        log = capfd.readouterr().err
        predicted = f"predicted design effect of sampling `orders` with it {said}"
        assert log.index(predicted) < log.index("Materialized value inputs orders")


def test_roles_and_weights_stand_beside_the_rows_on_every_instance(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop
) -> None:
    config = configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
        weighted = rows(
            pipeline_database,
            f"SELECT count(*), sum(weight) FROM {name}_sample.inputs__orders_weighted",
        )[0]
        assert (
            weighted[0]
            == rows(pipeline_database, f"SELECT count(*) FROM {name}_inputs.orders")[0][0]
        )
        assert weighted[1] == pytest.approx(1600, rel=0 if name == "full" else 0.25)
        keys = rows(
            pipeline_database, f"SELECT number FROM {name}_sample.inputs__orders ORDER BY 1"
        )
        assert keys == rows(
            pipeline_database, f"SELECT number FROM {name}_inputs.orders ORDER BY 1"
        )
    roles = dict(
        rows(
            pipeline_database,
            "SELECT DISTINCT role, probability FROM midi_sample.inputs__customers",
        )
    )
    assert roles["sampled"] == pytest.approx(0.2)
    assert set(roles) <= {"sampled", "witness", "reference"}
    assert roles.get("witness") is None


def test_rows_without_a_primary_key_have_weights_too(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop
) -> None:
    config = configured(tmp_path, midi=MIDI)
    for name in ("full", "midi"):
        run(shop.assets(weights=True), name, config)
        [(count, weight)] = rows(
            pipeline_database,
            f"SELECT count(*), sum(weight) FROM {name}_sample.inputs__clicks_weighted",
        )
        assert [(count,)] == rows(pipeline_database, f"SELECT count(*) FROM {name}_inputs.clicks")
        assert weight == pytest.approx(1600, rel=0 if name == "full" else 0.35)


def test_an_unchanged_sample_is_left_as_it_is(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(shop, config, weights=True)
    run(shop.assets(weights=True), "midi", config)
    before = nodes(pipeline_database)
    result = run(shop.assets(weights=True), "midi", config)
    assert result.success
    assert nodes(pipeline_database) == before


def test_a_change_reaches_the_neighbours_of_a_table_and_no_others(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(shop, config, weights=True)
    run(shop.assets(weights=True), "midi", config)
    before = nodes(pipeline_database)
    shop.frames["regions"] = shop.frames["regions"].iloc[:2]
    run(shop.assets(weights=True), "full", config)
    run(shop.assets(weights=True), "midi", config)
    changed = {name for name, node in nodes(pipeline_database).items() if node != before[name]}
    assert changed == {f"midi_{name}" for name in TABLES if name != "inputs.notes"}


def test_another_specification_chooses_anew(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(shop, config)
    run(shop.assets(), "midi", config)
    fewer = set(rows(pipeline_database, "SELECT number FROM midi_inputs.orders"))
    more = {**MIDI, "roots": {"customers": {"rate": 0.5}}}
    run(shop.assets(), "midi", configured(tmp_path, midi=more))
    assert fewer < set(rows(pipeline_database, "SELECT number FROM midi_inputs.orders"))


def test_no_working_table_is_left_behind(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(shop, config)
    run(shop.assets(), "midi", config)
    left = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('midi_sample__work')"
    assert rows(pipeline_database, left) == []


def test_a_pipeline_that_draws_other_tables_of_the_stage_is_not_waited_for(
    pipeline_database: sa.Engine, tmp_path: Path, shop: Shop, run_full: RunFull
) -> None:
    config = configured(tmp_path, midi=MIDI)
    run_full(shop, config)
    schema = "midi_sample__work"
    execute(pipeline_database, f"CREATE SCHEMA {schema}")
    theirs, forgotten = (work_table(schema, place, "rows", "t") for place in ("theirs", "gone"))
    with pipeline_database.connect() as other:
        source = RelationName("full_raw", "orders")
        lock_for_selection(other, schema, "theirs", [source])
        for name in (theirs, forgotten):
            execute(pipeline_database, f"CREATE TABLE {name.quoted} (v int)")
        run(shop.assets(), "midi", config)
    left = f"SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace"
    assert rows(pipeline_database, left) == [(theirs.name,)]


def test_two_pipelines_have_working_tables_of_their_own() -> None:
    instance = load_configuration().instance("midi")
    raw = {name: StageTable("raw", name) for name in ("a", "b")}
    one, two = (
        Request(instance, "inputs", {name: raw[name]}, {}, frozenset({name})) for name in raw
    )
    assert one.place != two.place
    assert one.place == Request(instance, "inputs", {"a": raw["a"]}, {}, frozenset()).place
