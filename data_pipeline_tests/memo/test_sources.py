"""Input from outside: fingerprints, and the ways to keep it out for one run."""

import time
from functools import cache, partial
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.memo.deciding.source_fingerprints import (
    fingerprint_function,
)
from data_pipeline.sources.fingerprints import (
    fingerprint_of_files,
    fingerprint_of_frame,
    fingerprint_of_table,
    outside_input,
)
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World

TAG = "data_pipeline/cache_validation"


def tags(**more: str) -> dict[str, str]:
    return {"dagster/partition": "full", **more}


def test_without_a_fingerprint_a_raw_table_is_loaded_in_every_run(world: World) -> None:
    world.state["fingerprint"] = None
    world.run()
    log = world.run().log
    assert "raw__t: takes input from outside and declares no fingerprint" in log
    assert world.calls == {"t": 1}


@pytest.mark.parametrize("kind", ["random", "unstable"])
def test_a_fingerprint_that_is_not_stable_never_counts_as_unchanged(
    world: World, kind: str
) -> None:
    world.state["fingerprint"] = kind
    world.run()
    world.run()
    assert world.calls == {"t": 1}
    warned = "The fingerprint of `raw/t` never counts as unchanged" in world.last.log
    assert warned == (kind == "unstable")


def of_attrs(instance: Instance) -> object:
    return [instance.name, instance.attrs["x"]]


class Asking:
    def __init__(self, attr: str) -> None:
        self.attr = attr

    def __call__(self, instance: Instance) -> object:
        return instance.attrs[self.attr]

    def by_method(self, instance: Instance, /, *more: object, key: str = "x") -> object:
        return instance.attrs[key]


OF_INSTANCE: Any = {
    "lambda": lambda instance: instance.attrs["x"],
    "function": of_attrs,
    "partial": partial(lambda attr, instance: instance.attrs[attr], "x"),
    "object": Asking("x"),
    "method": Asking("x").by_method,
    "wrapped": cache(of_attrs),
}


@pytest.mark.parametrize("kind", OF_INSTANCE)
def test_a_fingerprint_may_differ_from_instance_to_instance(
    world: World, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset(
        key=["raw", "t"],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=outside_input(OF_INSTANCE[kind]),
        code_version="1",
    )
    def t() -> pd.DataFrame:
        called("t")
        return pd.DataFrame({"k": [1]})

    text = load_configuration().file.read_text()
    for x in (1, 2):
        file = tmp_path / f"instances_{x}.yaml"
        attrs = "attrs: {copy_filtered_input: false"
        file.write_text(text.replace(attrs, f"{attrs}, x: {x}"))
        monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
        for again in (True, False):
            assert world.made(lambda: [t]).success
            assert (world.calls["t"] == 1) == again


def test_a_fingerprint_of_no_arguments_gets_none(tmp_path: Path) -> None:
    instance = load_configuration().instance("full")
    for declared in (
        lambda: 1,
        lambda path="p": 1,
        lambda *paths, **more: 1,
        partial(lambda value: value, 1),
        partial(lambda instance: instance, instance=1),
        tmp_path.is_file,
        time.time,
        int,
    ):
        function = fingerprint_function(outside_input(declared))
        assert function is not None
        function(instance)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (lambda instance, path: 1, "needs `instance`, `path`"),
        (lambda *, instance: 1, "needs `instance`"),
        (partial(lambda a, b, c: 1, 1), "needs `b`, `c`"),
        ("v1", "a `builtins.str` is no function"),
    ],
)
def test_any_other_function_is_refused_when_the_asset_is_declared(
    declared: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"outside_input: .*{words}"):
        outside_input(declared)


def test_an_asset_that_allows_fresh_input_gets_it_in_every_mode(world: World) -> None:
    world.state["allow_fresh_input"] = True
    world.run()
    for number, mode in enumerate(["ignore_fresh_input", "assert_no_fresh_input"], start=2):
        world.state["source"] = number
        assert world.run(tags=tags(**{TAG: mode})).success
        assert world.calls == {"t": 1, "b": 1, "c": 1, "query": 1}


def test_assert_no_fresh_input_says_what_would_run_and_runs_nothing(world: World) -> None:
    world.run()
    world.state["versions"] |= {"t": "2", "c": "2"}
    refused = world.run(tags=tags(**{TAG: "assert_no_fresh_input"}))
    assert not refused.success
    assert not world.calls
    failure = refused.failure
    assert "Nothing was run: raw/t (full) would take input from outside" in failure
    assert "raw__t: code of `t` changed: version 1 to 2" in failure


def test_the_mode_can_come_from_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    monkeypatch.setenv("DATA_PIPELINE_CACHE_VALIDATION", "force_fresh_input")
    world.run()
    assert world.calls == {"t": 1}
    world.run(tags=tags(**{TAG: "normal"}))
    assert not world.calls


def test_code_versions_can_be_ignored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run()
    world.state["versions"] |= {"t": "2", "b": "2"}
    assert world.run(tags=tags(**{"data_pipeline/ignore_code_version": "true"})).steps == set()
    monkeypatch.setenv("DATA_PIPELINE_IGNORE_CODE_VERSION", "1")
    assert world.run().steps == set()
    world.run(tags=tags(**{"data_pipeline/ignore_code_version": "false"}))
    assert world.calls == {"t": 1, "b": 1}


def test_a_mode_that_means_nothing_is_refused(world: World) -> None:
    refused = world.run(tags=tags(**{TAG: "sometimes"}))
    assert not refused.success
    failure = refused.failure
    assert f"tag `{TAG}`: 'sometimes' is no cache validation mode. Use one of normal" in failure


def test_frames_are_identified_by_content() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    same = fingerprint_of_frame(frame)
    assert fingerprint_of_frame(frame.copy()) == same
    assert fingerprint_of_frame(pl.from_pandas(frame)) == same
    assert fingerprint_of_frame(frame.assign(a=[1, 3])) != same
    assert fingerprint_of_frame(frame.rename(columns={"a": "c"})) != same


def test_files_are_identified_by_content(tmp_path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("a\n1\n")
    before = fingerprint_of_files(file)
    file.write_text("a\n1\n")
    assert fingerprint_of_files(file) == before
    file.write_text("a\n2\n")
    assert fingerprint_of_files(file) != before
    with pytest.raises(ConfigurationError, match=r"gone\.csv cannot be read"):
        fingerprint_of_files(tmp_path / "gone.csv")


def test_remote_tables_are_identified_by_count_and_latest_change(
    pipeline_database: sa.Engine,
) -> None:
    table = sa.Table(
        "remote", sa.MetaData(), sa.Column("k", sa.Integer), sa.Column("changed", sa.Integer)
    )
    with pipeline_database.begin() as connection:
        table.create(connection)
        connection.execute(sa.insert(table).values([(1, 10), (2, 20)]))
        before = fingerprint_of_table(connection, table, updated_at="changed")
        assert fingerprint_of_table(connection, table, updated_at="changed") == before
        connection.execute(sa.update(table).where(table.c.k == 1).values(changed=30))
        assert fingerprint_of_table(connection, table, updated_at="changed") != before
        assert fingerprint_of_table(connection, table) == [2]
        with pytest.raises(ConfigurationError, match="no column `updated`"):
            fingerprint_of_table(connection, table, updated_at="updated")
