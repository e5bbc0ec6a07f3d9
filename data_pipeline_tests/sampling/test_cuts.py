"""A closure that would bring nearly everything is cut, or refused."""

from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given

from data_pipeline import ForeignKey, instance_resources, table_properties
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.prediction.sizes import total
from data_pipeline.sampling.report import sampled_inputs_with_report
from data_pipeline_tests.sampling.made_schemas import RATES, build, made_schemas
from data_pipeline_tests.sampling.schemas import Schema, schema, to
from data_pipeline_tests.sampling.shop import configured, rows
from data_pipeline_tests.sampling.test_sampling_properties import SALTS, on_one_database
from data_pipeline_tests.sampling.test_sizes_of_samples import sized

FEW: dict[str, Any] = {"roots": {"people": {"rate": 0.05}}, "cover": "off", "hubs": "off"}
CUT = ["people.friend", "inputs/people.other"]


@pytest.fixture
def friends(engine: sa.Engine) -> Schema:
    """People who all know each other, by two steps of friends or more."""
    return schema(
        engine,
        [
            "CREATE TABLE people AS SELECT g AS id, nullif(1 + (g * 17) % 600, g) AS friend, "
            "1 + (g * 31 + 7) % 600 AS other, 1 + (g * 7) % 600 AS boss "
            "FROM generate_series(1, 600) g",
            "ALTER TABLE people ALTER boss SET NOT NULL",
        ],
        people={
            "primary_key": "id",
            "foreign_keys": [to("friend", "people", "id"), to("other", "people", "id")],
        },
    )


def test_a_component_does_not_become_everything(friends: Schema) -> None:
    everything = friends.sample(**FEW)
    assert len(everything.tables["people"]) > 590
    sample = friends.sample(**FEW, cut=CUT)
    assert len(sample.keys("people")) <= len(sample.keys("people", "sampled")) + 1  # its first row
    assert sample.keys("people", "sampled") == everything.keys("people", "sampled")
    there, lost = {key for (key,) in sample.keys("people")}, 0
    for row in sample.tables["people"]:
        lost += row.values["friend"] is not None and row.values["friend"] not in there
    assert sample.selection.cuts["people", "friend"] == lost > 0


def test_cuts_that_do_not_suffice_are_named_as_such(friends: Schema) -> None:
    boss = to("boss", "people", "id")
    declared = friends.declared["people"]
    keys = (*declared.foreign_keys, boss)
    source = Schema(friends.engine, {"people": replace(declared, foreign_keys=keys)})
    with pytest.raises(ConfigurationError) as caught:
        sized(source, **FEW, closure_limit=0.01)
    assert "Too many come by those that may not be NULL, so `cut: [people." in str(caught.value)


@pytest.fixture
def chains(engine: sa.Engine) -> Schema:
    """People who know the next one of ten, and live in a town that has a mayor."""
    return schema(
        engine,
        [
            "CREATE TABLE people AS SELECT g AS id, CASE WHEN g % 10 > 0 THEN g + 1 END AS next, "
            "1 + g % 300 AS town FROM generate_series(1, 600) g",
            "CREATE TABLE towns AS SELECT g AS id FROM generate_series(1, 300) g",
        ],
        people={
            "primary_key": "id",
            "foreign_keys": [to("next", "people", "id"), to("town", "towns", "id")],
        },
        towns={"primary_key": "id"},
    )


OF_PEOPLE: dict[str, Any] = {"roots": {"people": {}}, "cover": "off", "small_table_rows": 10}


def test_a_limit_refuses_no_rate_that_a_size_only_tries(chains: Schema) -> None:
    chosen, _ = sized(chains, **OF_PEOPLE, size={"rows": 150}, closure_limit=0.26)
    assert total(chosen.sizes).rows == pytest.approx(150, rel=0.1)


def test_a_limit_names_the_rate_of_the_size_that_it_refuses(chains: Schema) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sized(chains, **OF_PEOPLE, size={"rows": 600}, closure_limit=0.2)
    assert "sample.size {rows: 600}: the rate of `people` is 0." in str(caught.value)


@pytest.mark.parametrize("rows", [{"rate": 0.2}, {}])
def test_proposed_cuts_work_for_all_tables(chains: Schema, rows: dict[str, float]) -> None:
    settings = OF_PEOPLE | {"roots": {"people": rows}, "closure_limit": 0.1}
    settings |= {} if rows else {"size": {"rows": 240}}
    with pytest.raises(ConfigurationError) as caught:
        sized(chains, **settings)
    text = str(caught.value)
    assert "`cut: [people.next, people.town]`" in text
    sized(chains, **settings, cut=["people.next", "people.town"])
    with pytest.raises(ConfigurationError, match=r"`cut: \[people.next, people.town\]`"):
        sized(chains, **settings, cut=["people.next"])


def test_weights_stay_as_they_are(friends: Schema) -> None:
    samples = [friends.sample(**FEW, cut=CUT, salt=salt) for salt in range(20)]
    assert mean(s.weighted_count("people") for s in samples) == pytest.approx(600, rel=0.1)


def test_a_limit_refuses_what_would_come_and_proposes_cuts(friends: Schema) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sized(friends, **FEW, closure_limit=0.3)
    text = str(caught.value)
    assert "sample.closure_limit: Of `inputs/people`" in text
    assert "of 600 rows or more would come since others refer to them" in text
    assert "people (friend) -> people (id): " in text
    assert "`cut: [people." in text
    assert friends.sample(**FEW, closure_limit=0.3, cut=CUT).tables["people"]


@on_one_database
@given(made_schemas().filter(lambda made: made["references"]), RATES, SALTS)
def test_all_references_but_those_that_are_cut_are_kept(
    engine: sa.Engine, made: dict[str, Any], rate: float, salt: int
) -> None:
    source = build(engine, made)
    cut = source.graph.relationships[0]
    [column] = cut.columns
    sample = source.sample(
        roots={"t0": {"rate": rate}},
        salt=salt,
        cut=[f"{cut.child}.{column}"],
        small_table_rows=5,
        whole=source.unreached("t0"),
    )
    lost = sample.violations()
    assert all(text.startswith(f"{cut}: ") for text in lost)
    assert sample.selection.cuts[cut.child, column] >= len(lost)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (["people.id"], "no relationship of `inputs/people` has the column `id`"),
        (["inputs/peeple.friend"], "sample.cut: stage `inputs` has no table `peeple`"),
        (["bosses.boss"], "sample.cut: `boss` of `inputs/bosses` may not be NULL"),
    ],
)
def test_cuts_that_cannot_be(engine: sa.Engine, cut: list[str], message: str) -> None:
    source = schema(
        engine,
        [
            "CREATE TABLE people AS SELECT g AS id, g AS friend FROM generate_series(1, 9) g",
            "CREATE TABLE bosses AS SELECT g AS id, g AS boss FROM generate_series(1, 9) g",
            "ALTER TABLE bosses ALTER boss SET NOT NULL",
        ],
        people={"primary_key": "id", "foreign_keys": [to("friend", "people", "id")]},
        bosses={"primary_key": "id", "foreign_keys": [to("boss", "people", "id")]},
    )
    with pytest.raises(ConfigurationError) as caught:
        source.sample(**FEW, cut=cut)
    assert message in str(caught.value)


def people(*, key: bool = True) -> list[dg.AssetsDefinition]:
    number = range(300)
    frame = pd.DataFrame({"id": number, "friend": [(7 * n + 1) % 300 for n in number]})
    friend = ForeignKey(["friend"], "people", ["id"])
    declared = table_properties(primary_key="id" if key else (), foreign_keys=[friend])

    @dg.asset(key=["raw", "people"], partitions_def=INSTANCE_PARTITIONS, metadata=declared)
    def raw() -> pd.DataFrame:
        return frame

    return [raw, *sampled_inputs_with_report(stage="inputs", raw=[raw])]


def materialize(assets: list[dg.AssetsDefinition], name: str, config: str) -> None:
    dg.materialize(
        assets,
        selection=None if name == "full" else dg.AssetSelection.assets(*assets[1:]),
        partition_key=name,
        resources=instance_resources(name, config=config),
    )


def test_references_that_are_cut_are_null_in_copies_and_counted_in_the_report(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    cut = {"roots": {"people": {"rate": 0.3}}, "cut": ["people.friend"], "cover": "off"}
    config = configured(tmp_path, midi=cut)
    for name in ("full", "midi"):
        materialize(people(), name, config)
    [(lost, kept)] = rows(
        pipeline_database,
        "SELECT count(*) FILTER (WHERE m.friend IS NULL), count(f.id) FROM midi_inputs.people m "
        "LEFT JOIN midi_inputs.people f ON f.id = m.friend",
    )
    assert lost > 0
    assert kept > 0
    dangling = "SELECT count(*) FROM midi_inputs.people WHERE friend NOT IN "
    assert rows(pipeline_database, f"{dangling} (SELECT id FROM midi_inputs.people)") == [(0,)]
    report = "SELECT value FROM midi_sample.inputs__report WHERE measure = 'references cut'"
    assert rows(pipeline_database, report) == [(lost,)]
    wrong = "SELECT text FROM midi_sample.inputs__report WHERE NOT passed"
    assert rows(pipeline_database, wrong) == []
    in_memory = dg.materialize_to_memory(
        people()[:2],
        partition_key="midi",
        resources=instance_resources("midi", config=config, io_manager=False),
    ).asset_value(dg.AssetKey(["inputs", "people"]))
    found = rows(pipeline_database, "SELECT id, friend FROM midi_inputs.people ORDER BY id")
    made = in_memory.astype(object).where(in_memory.notna(), None).sort_values("id")
    assert [tuple(row) for row in made.itertuples(index=False)] == found


def test_rows_that_only_all_columns_tell_have_no_weights_beside_cuts(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    cut = {"roots": {"people": {"rate": 0.3}}, "cut": ["people.friend"], "cover": "off"}
    config = configured(tmp_path, midi=cut)
    materialize(people(key=False), "full", config)
    with pytest.raises(ConfigurationError, match="Table `inputs/people` has no primary key"):
        materialize(people(key=False), "midi", config)
