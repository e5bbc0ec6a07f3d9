"""The catalog file is all that definitions need; what has changed in the source is named."""

import json
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import instance_resources
from data_pipeline.cli import main
from data_pipeline.errors import ConfigurationError, DatabaseError
from data_pipeline.sources.declared_sources import refreshing
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.sources.shops import definitions, known, read, run, text

TABLES = ("customers", "orders", "Order_Lines")
AWAY = "postgresql://{$NOT_THERE}@nowhere.invalid/shop"


def test_only_loading_needs_the_source(
    configured: sa.Engine, shop: sa.Engine, tmp_path: Path
) -> None:
    read(text(shop), tmp_path)
    made = run("full", text(shop), tmp_path)
    assert made == {f"{stage}/{name}" for stage in ("raw", "inputs") for name in TABLES}
    assert run("full", text(shop), tmp_path) == set()
    assert run("midi", AWAY, tmp_path) == {
        "inputs/customers",
        "inputs/orders",
        "inputs/Order_Lines",
    }
    [(orders, lines, dangling)] = rows(
        configured,
        'SELECT count(*), (SELECT count(*) FROM midi_inputs."Order_Lines"), '
        "(SELECT count(*) FROM midi_inputs.orders WHERE customer NOT IN "
        "(SELECT id FROM midi_inputs.customers)) FROM midi_inputs.orders",
    )
    assert 50 < lines <= orders < 200
    assert dangling == 0
    by_hand(shop, "UPDATE customers SET name = 'new' WHERE id = 1")
    assert run("full", text(shop), tmp_path) == {"raw/customers"}
    assert run("midi", AWAY, tmp_path) == {f"inputs/{name}" for name in TABLES}


def test_the_catalog_has_no_secrets_and_messages_neither(
    configured: sa.Engine, shop: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets = read(text(shop), tmp_path)
    password = str(shop.url.password)
    assert password not in (tmp_path / "raw.source.json").read_text()
    said = [str(spec.metadata) + str(spec.description) for a in assets for spec in a.specs]
    assert password not in "".join(said)
    monkeypatch.setenv("SHOP_PASSWORD", "se/cr@t")
    url = f"postgresql://nobody:{{$SHOP_PASSWORD}}@{shop.url.host}:{shop.url.port}/nothing"
    with pytest.raises(DatabaseError) as refused:
        read(url, tmp_path / "other")
    told = str(refused.value)
    assert 'database_tables(stage="raw").url in' in told
    assert "se/cr" not in told
    assert "se%2F" not in told
    attrs = tmp_path / "source.yaml"
    attrs.write_text(json.dumps({"login": shop.url.username, "word": password}))
    place = f"{shop.url.host}:{shop.url.port}/{shop.url.database}"
    assert read(f"postgresql://{{login}}:{{word}}@{place}", tmp_path, url_attrs_file=attrs)
    with pytest.raises(ConfigurationError, match="url: no usable URL"):
        read("mysql://a:se@cr/t", tmp_path / "third")


def test_without_a_catalog_file_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="source refresh"):
        known(AWAY, tmp_path)
    (tmp_path / "raw.source.json").write_text("{")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        known(AWAY, tmp_path)


def test_a_table_that_has_changed_is_not_loaded(
    configured: sa.Engine, shop: sa.Engine, tmp_path: Path
) -> None:
    assets = read(text(shop), tmp_path)
    execute(
        shop,
        "ALTER TABLE customers DROP COLUMN name",
        "ALTER TABLE orders ALTER id TYPE bigint, ADD placed date",
        'DROP TABLE "Order Lines"',
    )
    result = dg.materialize(
        assets, partition_key="full", resources=instance_resources("full"), raise_on_error=False
    )
    told = "".join(
        str(event.step_failure_data.error.to_string()) for event in result.get_step_failure_events()
    )
    assert "`customers`: column `name` is gone" in told
    assert "`orders`: column `id` is bigint, and was integer" in told
    assert "`Order Lines`: there is no such table any more" in told
    assert "data-pipeline" in told
    assert "source refresh" in told


def test_new_columns_are_named_and_wait(
    configured: sa.Engine, shop: sa.Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assets = read(text(shop), tmp_path, tables="customers")
    execute(shop, "ALTER TABLE customers ADD mail text DEFAULT 'x'")
    dg.materialize(assets, partition_key="full", resources=instance_resources("full"))
    assert (
        "`customers` has new columns `mail` (text). That is loaded once" in capsys.readouterr().err
    )
    assert rows(configured, "SELECT * FROM full_raw.customers WHERE id = 1") == [(1, "n1")]


PROJECT = """
from data_pipeline import copy_filtered_inputs, database_tables, instance_definitions

raw = database_tables("postgresql://{$SHOP}")
defs = instance_definitions([*raw, copy_filtered_inputs(stage="inputs", raw=raw)])
"""


def test_the_command_reads_catalogs_and_plan_names_changes(
    configured: sa.Engine, shop: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "pipeline_of_a_shop.py"
    module.write_text(PROJECT.replace("postgresql://{$SHOP}", "{$SHOP}"))
    monkeypatch.setenv("SHOP", text(shop))

    def command(*words: str) -> str:
        sys.modules.pop(module.stem, None)  # a shell begins a process for each
        return CliRunner().invoke(main, [*words, "-m", str(module)]).output

    assert "source refresh" in command("plan", "full")
    output = command("source", "refresh")
    assert f"raw: 3 tables with 2 relationships, in {tmp_path / 'raw.source.json'}" in output
    plan = command("plan", "full")
    assert "raw__Order_Lines: not built yet" in plan
    assert "changed" not in plan
    execute(shop, "ALTER TABLE customers ALTER name TYPE varchar(9), ADD mail text")
    execute(shop, "CREATE TABLE shelves ()")
    plan = command("plan", "full")
    assert "`customers`: column `name` is character varying(9), and was text" in plan
    assert "`customers` has new columns `mail` (text)" in plan
    assert "new: `shelves`" in plan
    assert "source changed" not in command("plan", "midi")
    assert "new: `shelves`" in command("source", "refresh")


def test_two_sources_do_not_share_a_file(shop: sa.Engine, tmp_path: Path) -> None:
    with refreshing():
        known(text(shop), tmp_path)
        from data_pipeline import database_tables

        file = tmp_path / "raw.source.json"
        with pytest.raises(ConfigurationError, match="would keep their catalogs in one file"):
            database_tables(AWAY, catalog=file)


def test_definitions_take_the_tables_as_raw(
    configured: sa.Engine, shop: sa.Engine, tmp_path: Path
) -> None:
    raw = read(text(shop), tmp_path)
    assert definitions(raw).resolve_job_def("midi")
    assert [key.to_user_string() for asset in raw for key in asset.keys] == [
        "raw/Order_Lines", "raw/customers", "raw/orders",
    ]  # fmt: skip
