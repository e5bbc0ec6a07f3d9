"""Cache slots: who switches back and forth computes nothing again."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline_tests.memo.world import World


def switch(world: World, version: int) -> None:
    """Runs the pipeline with version 1, 2, 3 ... of the code of b and c."""
    world.state["versions"] |= {"b": str(version), "c": str(version)}
    world.state["factor"] = version
    assert world.run().success


def values(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.text("SELECT DISTINCT v FROM full_stage_1.b")))


def kept(engine: sa.Engine) -> list[str]:
    inspector = sa.inspect(engine)
    return inspector.get_table_names(schema="full_stage_1__slots")


def test_switching_back_swaps_the_earlier_version_in(
    world: World, pipeline_database: sa.Engine
) -> None:
    switch(world, 1)
    switch(world, 2)
    assert world.calls == {"b": 1, "c": 1, "query": 1}
    for version in (1, 2, 1):
        switch(world, version)
        assert not world.calls
        assert values(pipeline_database) == [version]
        assert "Swapped back in: stage_1__b" in world.last.log


def test_a_version_comes_back_as_it_was(world: World, pipeline_database: sa.Engine) -> None:
    world.state["properties"] = {"primary_key": "k", "indexes": ["v"]}
    switch(world, 1)
    with pipeline_database.begin() as connection:
        connection.execute(sa.text("CREATE VIEW public.users AS SELECT v FROM full_stage_1.b"))
    names = index_names(pipeline_database)
    switch(world, 2)
    switch(world, 1)
    assert not world.calls
    assert index_names(pipeline_database) == names
    key = sa.inspect(pipeline_database).get_pk_constraint("b", schema="full_stage_1")
    assert key["constrained_columns"] == ["k"]
    with pipeline_database.connect() as connection:
        assert connection.scalars(sa.text("SELECT DISTINCT v FROM public.users")).all() == [1]


def index_names(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        query = "SELECT indexname FROM pg_indexes WHERE schemaname = 'full_stage_1'"
        return set(connection.scalars(sa.text(query)))


def test_slots_are_bounded_and_the_oldest_goes_first(
    world: World, pipeline_database: sa.Engine
) -> None:
    for version in (1, 2, 3):
        switch(world, version)
    assert len(kept(pipeline_database)) == 1
    switch(world, 2)
    assert not world.calls
    switch(world, 1)
    assert world.calls["b"] == 1


@pytest.mark.parametrize("count", [0, 2])
def test_their_number_is_configured(
    world: World,
    pipeline_database: sa.Engine,
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from data_pipeline.instances import load_configuration

    text = load_configuration().file.read_text()
    changed = text.replace("cache_slots: 1}", f"cache_slots: {count}}}")
    assert changed != text
    file = tmp_path / "instances.yaml"
    file.write_text(changed)
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    for version in (1, 2, 3):
        switch(world, version)
    assert len(kept(pipeline_database)) == count
    switch(world, 1)
    assert world.calls["b"] == (0 if count == 2 else 1)


def test_what_is_built_on_a_table_never_shows_a_version_put_aside(
    world: World, pipeline_database: sa.Engine
) -> None:
    switch(world, 1)
    with pipeline_database.begin() as connection:
        connection.execute(
            sa.text("CREATE MATERIALIZED VIEW public.m AS SELECT v FROM full_stage_1.b")
        )
    switch(world, 2)
    with pipeline_database.begin() as connection:
        shown = connection.scalars(sa.text("SELECT DISTINCT v FROM public.m")).all()
    assert shown == values(pipeline_database) != [1]


def test_kept_versions_are_listed_and_dropped(
    world: World, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    switch(world, 1)
    switch(world, 2)
    listed = CliRunner().invoke(main, ["instances", "full"]).output
    assert "kept table" in listed
    assert "kept blob" in listed
    files = len(list((tmp_path / "home").rglob("*.pickle")))
    assert files == 2
    dropped = CliRunner().invoke(main, ["gc", "full"]).output
    assert "full: dropped 3 kept version(s)" in dropped
    assert kept(pipeline_database) == []
    assert len(list((tmp_path / "home").rglob("*.pickle"))) == 1
    assert "kept" not in CliRunner().invoke(main, ["instances", "full"]).output
    switch(world, 1)
    assert world.calls["b"] == 1


def test_a_table_that_was_dropped_or_emptied_by_hand_is_not_kept(
    world: World, pipeline_database: sa.Engine
) -> None:
    for statement in ("DROP TABLE full_stage_1.b CASCADE", "TRUNCATE full_stage_1.b"):
        switch(world, 1)
        with pipeline_database.begin() as connection:
            connection.execute(sa.text(statement))
        switch(world, 2)
        switch(world, 1)
        assert world.calls["b"] == 1
        assert values(pipeline_database) == [1]
        with pipeline_database.begin() as connection:
            connection.execute(sa.text("DROP TABLE full_catalog.slots"))


@pytest.mark.parametrize(
    "statement",
    ["DROP SCHEMA full_stage_1__slots CASCADE", "DROP TABLE full_catalog.slots"],
)
def test_versions_that_were_dropped_by_hand_are_computed_again(
    world: World, pipeline_database: sa.Engine, statement: str
) -> None:
    switch(world, 1)
    switch(world, 2)
    with pipeline_database.begin() as connection:
        connection.execute(sa.text(statement))
    switch(world, 1)
    assert world.calls["b"] == 1
    assert values(pipeline_database) == [1]
    switch(world, 2)
    assert not world.calls["b"]


def test_kept_blobs_whose_files_are_gone_are_computed_again(world: World, tmp_path: Path) -> None:
    switch(world, 1)
    switch(world, 2)
    for file in (tmp_path / "home").rglob("c.*.pickle"):
        file.unlink()
    switch(world, 1)
    assert world.calls == {"c": 1}
    assert world.run().steps == set()


def test_a_file_that_two_versions_share_stays_while_one_is_there(world: World) -> None:
    switch(world, 1)
    world.state["versions"]["c"] = "other code, same result"
    assert world.run().success
    assert CliRunner().invoke(main, ["gc", "full"]).exit_code == 0
    assert world.run().steps == set()


def test_a_table_that_was_a_blob_comes_back_as_it_was(
    world: World, pipeline_database: sa.Engine
) -> None:
    for version in ("blob", "table"):
        world.state["versions"]["c"] = version
        assert world.run().success
    inspector = sa.inspect(pipeline_database)
    assert "full_stage_2__slots" not in inspector.get_schema_names()
    for version in ("blob", "table"):
        world.state["versions"]["c"] = version
        assert world.run().steps == set()
    assert sa.inspect(pipeline_database).get_table_names(schema="full_stage_2__slots") == []
