"""Masks stand in the place of columns in copies: in no copy, role or report is an original."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey, instance_resources, table_properties
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.engine import masks
from data_pipeline.sampling.report import sampled_inputs_with_report
from data_pipeline_tests.sampling.schemas import Schema, schema, to
from data_pipeline_tests.sampling.shop import configured, rows

KEYS = {"people": {"name": "md5(name)"}, "visits": {"who": "MD5( who )"}}
MASKS = {**KEYS, "people": {**KEYS["people"], "mail": "md5(mail) || '@example.org'"}}
MIDI: dict[str, Any] = {"roots": {"people": {"rate": 0.3}}}


def assets() -> list[dg.AssetsDefinition]:
    number = range(60)
    people = pd.DataFrame(
        {
            "name": [f"secret {n}" for n in number],
            "mail": [f"secret{n % 7}@mail" for n in number],
            "age": [20 + n % 30 for n in number],
        }
    )
    visits = pd.DataFrame(
        {"visit": range(180), "who": [f"secret {n % 70}" for n in range(180)], "day": range(180)}
    )
    who = ForeignKey(["who"], "people", ["name"])

    def raw(name: str, make: Callable[[], pd.DataFrame], **declared: Any) -> dg.AssetsDefinition:
        @dg.asset(
            key=["raw", name],
            partitions_def=INSTANCE_PARTITIONS,
            metadata=table_properties(**declared),
        )
        def table() -> pd.DataFrame:
            return make()

        return table

    tables = [
        raw("people", lambda: people, primary_key="name"),
        raw("visits", lambda: visits, primary_key="visit", foreign_keys=[who]),
    ]
    return [*tables, *sampled_inputs_with_report(stage="inputs", raw=tables)]


def materialize(name: str, config: str) -> None:
    made = assets()
    dg.materialize(
        made,
        selection=None if name == "full" else dg.AssetSelection.assets(*made[2:]),
        partition_key=name,
        resources=instance_resources(name, config=config),
    )


def test_no_original_is_in_what_is_copied_and_said(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    config = configured(tmp_path, midi={**MIDI, "mask": MASKS})
    for name in ("full", "midi"):
        materialize(name, config)
    for table in (
        "midi_inputs.people",
        "midi_inputs.visits",
        "midi_sample.inputs__people",
        "midi_sample.inputs__visits",
        "midi_sample.inputs__people_weighted",
        "midi_sample.inputs__report",
    ):
        leaks = f"SELECT count(*) FROM {table} t WHERE CAST(t AS text) LIKE '%secret%'"
        assert rows(pipeline_database, leaks) == [(0,)], table
    assert rows(pipeline_database, "SELECT count(*) FROM full_inputs.people") == [(60,)]
    assert rows(pipeline_database, "SELECT 1 FROM full_inputs.people WHERE name = 'secret 1'")
    named = "SELECT column_name FROM midi_sample.inputs__report WHERE measure = 'masked column'"
    assert sorted(rows(pipeline_database, named)) == [("mail",), ("name",), ("who",)]
    wrong = "SELECT table_name, measure, text FROM midi_sample.inputs__report WHERE NOT passed"
    assert rows(pipeline_database, f"{wrong} AND severity = 'error'") == []
    lost = """
        SELECT count(*) FROM midi_inputs.visits v LEFT JOIN midi_inputs.people p ON p.name = v.who
        WHERE p.name IS NULL AND v.who IN (SELECT md5(name) FROM full_inputs.people)
    """
    assert rows(pipeline_database, lost) == [(0,)]
    weights = "SELECT sum(weight), count(*) FROM midi_sample.inputs__people_weighted"
    [(total, count)] = rows(pipeline_database, weights)
    assert total > 0
    assert [(count,)] == rows(pipeline_database, "SELECT count(*) FROM midi_inputs.people")


def test_the_rows_are_those_without_masks_in_memory_too_and_others_are_made_anew(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    off = {**MIDI, "cover": "off"}
    config = configured(tmp_path, midi={**off, "mask": MASKS}, mini=off)
    for name in ("full", "midi", "mini"):
        materialize(name, config)
    ages = "SELECT age FROM {}_inputs.people ORDER BY age"
    assert rows(pipeline_database, ages.format("midi")) == rows(
        pipeline_database, ages.format("mini")
    )
    made = dg.materialize_to_memory(
        assets()[:3],
        partition_key="midi",
        resources=instance_resources("midi", config=config, io_manager=False),
    ).asset_value(dg.AssetKey(["inputs", "people"]))
    copied = rows(pipeline_database, "SELECT name, mail, age FROM midi_inputs.people ORDER BY name")
    in_memory = made[["name", "mail", "age"]].sort_values("name")
    assert [tuple(row) for row in in_memory.itertuples(index=False)] == copied
    other = configured(tmp_path, midi={**off, "mask": {"people": {"mail": "'x'"}}})
    materialize("midi", other)
    mails = "SELECT DISTINCT mail FROM midi_inputs.people"
    assert rows(pipeline_database, mails) == [("x",)]


@pytest.fixture
def source(engine: sa.Engine) -> Schema:
    return schema(
        engine,
        [
            "CREATE TABLE people AS SELECT 'n' || g AS name, g AS age "
            "FROM generate_series(1, 50) g",
            "ALTER TABLE people ALTER age SET NOT NULL",
            "CREATE TABLE visits AS SELECT g AS id, 'n' || g AS who FROM generate_series(1, 50) g",
        ],
        people={"primary_key": "name"},
        visits={"primary_key": "id", "foreign_keys": [to("who", "people", "name")]},
    )


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"people": {"name": "md5(name)"}}, "so both have to be masked by the same expression"),
        ({"visits": {"who": "md5(who)"}}, "people.name is not masked"),
        (
            {"people": {"name": "md5(name)"}, "visits": {"who": "md5(who || 'x')"}},
            "so both have to be masked by the same expression of their own column",
        ),
        ({"people": {"nmae": "'x'"}}, "sample.mask: `nmae` of `inputs/people` does not exist"),
        ({"people": {"age": "agee + 1"}}, "`age` of `inputs/people`, 'agee + 1': column"),
        ({"people": {"age": "1) + (2"}}, "syntax error"),
        ({"people": {"age": "(SELECT 1)"}}, "cannot use subquery in check constraint"),
        ({"visits": {"id": "id + ascii(who)"}}, "Write an immutable expression of `id` alone"),
        ({"visits": {"id": "CAST(random() AS int)"}}, "must be marked IMMUTABLE"),
        ({"visits": {"id": "id / 2"}}, "give several rows the same key"),
        ({"people": {"age": "1 / (age - 7)"}}, "fails on a row of the source: division by zero"),
        ({"people": {"age": "nullif(age, 7)"}}, "is NULL for some rows, but `age` may not be NULL"),
    ],
)
def test_masks_that_cannot_be(source: Schema, mask: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        source.sample(roots={"people": {"rate": 1}}, mask=mask)
    assert message in str(caught.value)


@pytest.mark.parametrize("tried", [20_000, 1])
@pytest.mark.parametrize("more", [{}, {"closure_limit": 1}], ids=["written at once", "in the end"])
def test_what_a_failing_mask_is_to_hide_is_not_said(
    source: Schema, monkeypatch: pytest.MonkeyPatch, tried: int, more: dict[str, Any]
) -> None:
    monkeypatch.setattr(masks, "_TRIED_ROWS", tried)
    mask = {"people": {"age": "CASE WHEN age > 40 THEN name::int ELSE age END"}}
    with pytest.raises(
        ConfigurationError, match=r"`age` of `inputs/people`, .*fails on a"
    ) as caught:
        source.sample(roots={"people": {"rate": 1}}, mask=mask, **more)
    assert "invalid input syntax for type integer" in str(caught.value)
    assert "n41" not in str(caught.value)


def test_masks_of_keys_are_checked_before_rows_are_chosen(source: Schema) -> None:
    """Two rows get the same key, and few are drawn: a dry run need not draw any."""
    mask = {"visits": {"id": "CASE id WHEN 50 THEN 1 ELSE id END"}}
    with pytest.raises(ConfigurationError, match="give several rows the same key"):
        source.sample(roots={"visits": {"rate": 1e-9}}, cover="off", mask=mask)
