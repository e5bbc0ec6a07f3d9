"""Row security never thins a result: what a policy would hide from the pipeline is an error."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline import Table, View, instance_resources, sql_query
from data_pipeline.database import row_security
from data_pipeline.database.connection import Database, database
from data_pipeline.database.connection import run as query_text
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.io_manager.runs import (
    execute,
    from_inputs,
    metadata,
    refusal,
    rows,
    run,
    table_asset,
    told,
)
from data_pipeline_tests.results import shop as checked
from data_pipeline_tests.sampling import shop

WHOLE = pd.DataFrame({"v": range(9)})
COUNT = "SELECT count(*) FROM full_s.r"
_AFFECTED = "query would be affected by row-level security policy"


def secure(engine: sa.Engine, table: str, *policies: str, forced: bool = True) -> None:
    execute(
        engine,
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        *([f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"] if forced else []),
        *(f'CREATE POLICY "{policy}" ON {table} USING (v < 3)' for policy in policies),
    )


def table() -> dg.AssetsDefinition:
    return table_asset("t", lambda: WHOLE)


def source() -> Database:
    return database(load_configuration().instance("full"))


def reading(annotation: Any) -> Callable[..., Any]:
    def read(t):
        return t

    read.__annotations__ = {"t": annotation}
    return read


def query(t: sa.Table) -> Any:
    return sql_query("SELECT v FROM {t}", t=t)


def typed_query(t: sa.Table) -> Any:
    return Table(sql_query("SELECT v FROM {t}", t=t), types={"v": "smallint"})


def view(t: sa.Table) -> Any:
    return View(t)


READERS = {
    "pandas": reading(pd.DataFrame),
    "polars": reading(pl.DataFrame),
    "arrow": reading(pa.Table),
    "stream": reading(pa.RecordBatchReader),
    "query": query,
    "typed_query": typed_query,
    "view": view,
}


def materialize(assets: Sequence[dg.AssetsDefinition], *names: str) -> dg.ExecuteInProcessResult:
    """Makes the tables of these names, each whether others can be made or not."""
    return dg.materialize(
        assets,
        partition_key="full",
        resources=instance_resources("full"),
        selection=[dg.AssetKey(["s", name]) for name in names],
        raise_on_error=False,
    )


def test_a_read_that_policies_would_filter_is_refused(superuser: sa.Engine, owner: str) -> None:
    run(table(), *(table_asset(name, lambda: WHOLE) for name in READERS))
    secure(superuser, "full_s.t", "few", "a b")
    assets = [table(), *(from_inputs(name, read, "t") for name, read in READERS.items())]
    refused = materialize(assets, *READERS)
    for name in READERS:
        error = told(refused, name)
        assert f'{_AFFECTED} for table "t"' in error, name
        assert "the table full_s.t (policies `a b`, `few`) would hide rows from" in error, name
        assert f"from the database role `{owner}`" in error, name
        assert '    ALTER TABLE "full_s"."t" NO FORCE ROW LEVEL SECURITY;' in error, name
        assert f'    ALTER ROLE "{owner}" BYPASSRLS;' in error, name
        assert "Grant" not in error, name
        assert rows(superuser, f"SELECT count(*) FROM full_s.{name}") == [(9,)], name
    execute(superuser, "ALTER TABLE full_s.t NO FORCE ROW LEVEL SECURITY")
    assert materialize(assets, *READERS).success
    for name in READERS:
        assert rows(superuser, f"SELECT count(*) FROM full_s.{name}") == [(9,)], name


def test_who_may_pass_by_row_security_reads_all(superuser: sa.Engine, owner: str) -> None:
    run(table())
    secure(superuser, "full_s.t", "few")
    execute(superuser, f"ALTER ROLE {owner} BYPASSRLS")
    run(table(), from_inputs("r", query, "t"), selection="r")
    assert rows(superuser, COUNT) == [(9,)]


@pytest.mark.usefixtures("pipeline_database")
def test_a_superuser_is_never_affected(
    superuser: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = superuser.url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    run(table())
    secure(superuser, "full_s.t", "few")
    run(table(), from_inputs("r", reading(pd.DataFrame), "t"), selection="r")
    assert rows(superuser, COUNT) == [(9,)]


def external(engine: sa.Engine, owner: str) -> None:
    """Makes a table of another role that lets the role of the pipeline read some rows."""
    other = f"other_of_{owner}"
    execute(
        engine,
        f"CREATE ROLE {other}",
        f"CREATE SCHEMA crm AUTHORIZATION {other}",
        "CREATE TABLE crm.customers AS SELECT v FROM generate_series(0, 8) v",
        "CREATE VIEW crm.some AS SELECT v FROM crm.customers WHERE v < 5",
        f"ALTER TABLE crm.customers OWNER TO {other}",
        f"ALTER VIEW crm.some OWNER TO {other}",
        f"GRANT USAGE ON SCHEMA crm TO {owner}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA crm TO {owner}",
    )


@pytest.fixture
def others(superuser: sa.Engine, owner: str) -> Any:
    external(superuser, owner)
    yield superuser
    name = f"other_of_{owner}"
    execute(superuser, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def test_rows_of_a_foreign_source_are_all_read_or_none(others: sa.Engine, owner: str) -> None:
    secure(others, "crm.customers", "ours", forced=False)
    external_rows = table_asset("r", lambda: sql_query("SELECT v FROM crm.customers"))
    error = str(refusal(external_rows))
    assert "the table crm.customers (policy `ours`) would hide rows from" in error
    assert f"from the database role `{owner}`" in error
    assert "NO FORCE" not in error
    assert f"Let the owner of the table, `other_of_{owner}`, make a view of the rows" in error
    # What its owner shows on purpose, for which row security is not what thins it.
    run(table_asset("r", lambda: sql_query("SELECT v FROM crm.some")))
    assert rows(others, COUNT) == [(5,)]


def test_a_view_whose_owner_sees_some_rows_is_refused(others: sa.Engine, owner: str) -> None:
    secure(others, "crm.customers", "own")
    execute(others, f"REVOKE SELECT ON crm.customers FROM {owner}")
    error = str(refusal(table_asset("r", lambda: sql_query("SELECT v FROM crm.some"))))
    assert "the table crm.customers (policy `own`) would hide rows from" in error


def test_row_security_without_a_policy_is_told(superuser: sa.Engine, owner: str) -> None:
    run(table())
    secure(superuser, "full_s.t")
    error = str(refusal(table(), from_inputs("r", query, "t"), selection="r"))
    assert "the table full_s.t (no policy, which hides all) would hide rows from" in error


def test_of_tables_of_one_name_the_one_that_was_read_is_named(
    superuser: sa.Engine, owner: str
) -> None:
    for name in ("full", "mini"):
        run(table(), on=name)
        secure(superuser, f"{name}_s.t", f"of {name}")
    error = str(refusal(table(), from_inputs("r", query, "t"), selection="r", on="mini"))
    assert "mini_s.t (policy `of mini`)" in error
    assert "of full" not in error


def test_a_missing_privilege_is_told_as_such(others: sa.Engine, owner: str) -> None:
    secure(others, "crm.customers", "ours", forced=False)
    execute(others, f"REVOKE SELECT ON crm.customers FROM {owner}")
    execute(others, "ALTER TABLE crm.customers DISABLE ROW LEVEL SECURITY")
    error = str(refusal(table_asset("r", lambda: sql_query("SELECT v FROM crm.customers"))))
    assert f'GRANT SELECT ON "crm"."customers" TO "{owner}"' in error
    assert "Row security" not in error


@pytest.mark.usefixtures("owner")
def test_a_server_of_another_language_is_understood(superuser: sa.Engine) -> None:
    said = "Abfrage würde von Policy für Sicherheit auf Zeilenebene für Tabelle »t« betroffen sein"
    run(table())
    secure(superuser, "full_s.t", "few")
    with source().begin() as connection:

        def ask(query: str) -> Any:
            return query_text(connection, query).all()

        named = row_security.hidden_rows(said, ask)
        assert named is not None
        assert "full_s.t (policy `few`)" in named
        assert row_security.hidden_rows("keine Berechtigung für Schema public", ask) is None


@pytest.mark.usefixtures("owner")
def test_what_is_not_read_is_kept_and_not_shown(superuser: sa.Engine) -> None:
    assets = [table(), from_inputs("r", query, "t")]
    run(*assets)
    secure(superuser, "full_s.r", "few")
    again = run(*assets, selection="r")
    assert metadata(again, "r")["preview"] == "(hidden by row security)"
    assert rows(superuser, COUNT) == [(9,)]


def test_queries_of_our_own_are_refused_alike(superuser: sa.Engine, owner: str) -> None:
    run(table())
    secure(superuser, "full_s.t", "few")
    with (
        pytest.raises(DatabaseError, match=r"full_s\.t \(policy `few`\) would hide rows from") as e,
        source().begin() as connection,
    ):
        connection.execute(sa.text("SELECT count(*) FROM full_s.t"))
    assert owner in str(e.value)


@pytest.mark.usefixtures("owner")
def test_a_sample_of_a_part_of_the_rows_is_refused(superuser: sa.Engine, tmp_path: Path) -> None:
    sold = shop.Shop(40)
    rooted = {"roots": {"customers": {"rate": 0.5}}}
    odd = {"predicates": {"customers": {"odd": "customer % 2 = 1"}}}
    samples = {"midi": {**rooted, "cover": "off"}, "mini": {**rooted, "cover": odd}}
    config = shop.configured(tmp_path, **samples)
    shop.run(sold.assets(), "full", config)
    for name in ("customers", "regions"):
        execute(
            superuser,
            f"ALTER TABLE full_raw.{name} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE full_raw.{name} FORCE ROW LEVEL SECURITY",
            f"CREATE POLICY north ON full_raw.{name} USING (region = 'north')",
        )
        for instance in samples:
            with pytest.raises(DatabaseError, match=rf"full_raw\.{name} \(policy `north`\)"):
                shop.run(sold.assets(), instance, config)
            made = rows(superuser, f"SELECT to_regclass('{instance}_inputs.customers')")
            assert made == [(None,)], f"{instance}, {name}"
        execute(superuser, f"ALTER TABLE full_raw.{name} DISABLE ROW LEVEL SECURITY")
    for instance in samples:
        shop.run(sold.assets(), instance, config)


@pytest.mark.usefixtures("owner")
def test_a_check_of_a_part_of_the_rows_is_refused(superuser: sa.Engine) -> None:
    raw = checked.raw_tables()
    checked.run("full", raw)
    execute(
        superuser,
        "ALTER TABLE full_shop_raw.orders ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE full_shop_raw.orders FORCE ROW LEVEL SECURITY",
        "CREATE POLICY few ON full_shop_raw.orders USING (id < 3)",
    )
    with pytest.raises(DatabaseError, match=r"full_shop_raw\.orders \(policy `few`\)"):
        checked.check("full", raw)
