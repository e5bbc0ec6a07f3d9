"""`data-pipeline init` writes a project that runs and tests itself."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.authoring.new_project.from_database import SourceDatabase
from data_pipeline.authoring.new_project.project_files import write_project
from data_pipeline.cli import main
from data_pipeline.cli.commands.run import dagster_home
from data_pipeline.instances import project as project_in_use
from data_pipeline.sources.source_catalog import SourceCatalog, SourceRelation
from data_pipeline_tests.cli.made_projects import Project
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.launch.processes import environment
from data_pipeline_tests.testing.test_plugin import PLUGIN


def test_a_new_project_runs_and_tests_itself(tmp_path: Path, database_url: sa.URL) -> None:
    folder = tmp_path / "My shop"
    result = CliRunner().invoke(main, ["init", str(folder), "--example"])
    assert result.exit_code == 0, result.output
    assert f"cd '{folder}'; make demo" in result.output
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    urls = dict.fromkeys(["DATA_PIPELINE_DATABASE_URL", "DATA_PIPELINE_TEST_URL"], url)
    project = Project(folder, environment(**urls))
    text = project.succeed("/usr/bin/env", "make", "demo")
    assert "project my_shop.definitions, configuration" in text
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    counts = {
        name: rows(engine, f"SELECT count(*) FROM {name}_clean.orders")[0][0]
        for name in ("full", "midi", "mini")
    }
    assert counts["full"] == 5000
    assert 350 < counts["midi"] < 700
    assert 10 < counts["mini"] < 40
    assert rows(engine, "SELECT count(*) FROM mini_forecast.expected")[0][0] > 0
    options = f"PYTEST_ARGS={' '.join(PLUGIN)}"
    assert "4 passed" in project.succeed("/usr/bin/env", "make", "test", options)


def test_dagster_finds_its_settings_and_warns_of_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path / "shop")
    monkeypatch.setattr(project_in_use, "root", lambda: tmp_path / "shop")
    assert not (tmp_path / "shop/dagster.yaml").exists()  # `dagster dev` would warn of it
    settings = dagster_home(tmp_path / "home") / "dagster.yaml"
    assert settings.read_text() == (tmp_path / "shop/settings/dagster.yaml").read_text()
    assert "cp settings/dagster.yaml" in (tmp_path / "shop/Makefile").read_text()


def test_files_that_are_there_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("mine")
    result = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert result.exit_code == 1
    assert "has Makefile already; nothing was written" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_a_schema_of_no_database_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["init", str(tmp_path / "shop"), "--schema", "sales"])
    assert result.exit_code == 2
    assert "--schema is one of a database: name that with --from-database" in result.output
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("shop", "shop"),
        ("My-Shop 2", "my_shop_2"),
        ("2024", "p2024"),
        ("Märkte", "markte"),
        ("json", "json_pipeline"),
        ("class", "class_pipeline"),
        ("pandas", "pandas_pipeline"),
    ],
)
def test_the_package_has_a_name_that_no_other_module_has(
    tmp_path: Path, folder: str, package: str
) -> None:
    assert write_project(tmp_path / folder) == package
    assert (tmp_path / folder / package / "definitions.py").is_file()
    text = (tmp_path / folder / "pyproject.toml").read_text()
    assert f'module_name = "{package}.definitions"' in text


def test_a_project_from_a_database_runs(tmp_path: Path, database_url: sa.URL) -> None:
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    execute(
        engine,
        "CREATE SCHEMA source",
        "CREATE TABLE source.people (id int PRIMARY KEY)",
        'CREATE TABLE source."Order Lines" (id int PRIMARY KEY, who int REFERENCES source.people)',
        "CREATE TABLE source.visits (at date) PARTITION BY RANGE (at)",
        "CREATE TABLE source.mails (id int PRIMARY KEY, who int REFERENCES source.people)",
        "INSERT INTO source.people SELECT generate_series(1, 50)",
        'INSERT INTO source."Order Lines" SELECT i, 1 + i % 50 FROM generate_series(1, 500) i',
    )
    folder = tmp_path / "market"
    command = ["init", str(folder), "--from-database", url, "--schema", "source"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "4 tables are loaded from the database" in result.output
    code = "".join(
        path.read_text() for path in folder.rglob("*") if path.suffix in (".py", ".json")
    )
    assert str(database_url.password) not in code
    assert "every_run" not in code
    instances = (folder / "instances.yaml").read_text()
    roots = ("Order_Lines", "mails", "visits")
    assert f"roots: {{{', '.join(f'{name}: {{rate: 0.1}}' for name in roots)}}}" in instances
    assert (folder / "source.yaml").stat().st_mode & 0o77 == 0
    assert "source.yaml" in (folder / ".gitignore").read_text().splitlines()
    urls = dict.fromkeys(["DATA_PIPELINE_DATABASE_URL", "DATA_PIPELINE_TEST_URL"], url)
    project = Project(folder, environment(**urls))
    project.succeed("data-pipeline", "run", "full", "midi", "mini")
    counts = [
        rows(engine, f'SELECT count(*) FROM {name}_clean."Order_Lines"')[0][0]
        for name in ("full", "midi", "mini")
    ]
    assert counts[0] == 500
    assert 0 < counts[2] < 3 < counts[1] < 150
    assert "3 passed" in project.succeed("pytest", "-q", *PLUGIN)


def test_tables_whose_changes_nobody_counts_are_loaded_in_every_run() -> None:
    tables = [
        SourceRelation("plain", "table", ()),
        SourceRelation("far", "foreign table", (), uncounted="it is a foreign table"),
    ]
    catalog = SourceCatalog({table.name: table for table in tables})
    code = SourceDatabase("postgresql://host/source", None, catalog).arguments()
    assert 'every_run=["far"],' in code


def test_a_database_without_tables_is_told_with_its_schema(
    tmp_path: Path, database_url: sa.URL
) -> None:
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = ["init", str(tmp_path / "market"), "--from-database", url]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "no tables in its schema `public`" in result.output
    assert not (tmp_path / "market").exists()
    result = CliRunner().invoke(main, [*command[:-1], "mysql://me@host/shop"])
    assert "databases of this kind cannot be read. Write 'postgresql://" in result.output


def test_the_path_of_a_source_begins_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("shop.db") as source:
        source.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    result = CliRunner().invoke(main, ["init", "shop", "--from-database", "sqlite:///shop.db"])
    assert result.exit_code == 0, result.output
    assert f"sqlite:///{tmp_path}/shop.db" in (tmp_path / "shop/shop/raw.py").read_text()


def _init(folder: Path, *statements: str) -> str:
    with sqlite3.connect(folder / "shop.db") as source:
        for statement in statements:
            source.execute(statement)
    url = f"sqlite:///{folder}/shop.db"
    return CliRunner().invoke(main, ["init", str(folder / "shop"), "--from-database", url]).output


def test_tables_with_likely_references_that_nobody_declared_are_named(tmp_path: Path) -> None:
    said = _init(
        tmp_path,
        "CREATE TABLE people (person_id INTEGER PRIMARY KEY)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, person_id INTEGER REFERENCES people)",
        "CREATE TABLE payments (id INTEGER PRIMARY KEY, person_id INTEGER)",
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, person_id TEXT)",
    )
    assert "called like keys of other tables: `payments`. Samples" in said
    assert "`data-pipeline relationships raw`" in said


def test_it_is_said_where_nothing_refers_to_anything(tmp_path: Path) -> None:
    said = _init(tmp_path, "CREATE TABLE people (id INTEGER PRIMARY KEY)")
    assert "No table refers to another, so midi and mini take the first rows" in said
    assert "called like keys" not in said
