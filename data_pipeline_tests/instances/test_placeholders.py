"""Environment variables and names are filled in, wherever a text stands."""

import pwd
from pathlib import Path

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.instances.conftest import Load

URL = "table_store_connections: {{default: {{url: {url!r}, {rest}}}}}\n" + (
    "technical_setups: {{default: {{table_store: {{table_store_connection: default}}}}}}\n"
    "instances: {{mini: }}\n"
)


def url(load: Load, text: str, environ: dict[str, str] | None = None, rest: str = "") -> str:
    configuration = load(URL.format(url=text, rest=rest), environ)
    return configuration.instance("mini").table_store.url.reveal()


def test_names_of_the_instance(load: Load) -> None:
    given = "postgresql://{username}@h/{name}_{instance_id}"
    assert url(load, given) == "postgresql://ann@h/data_pipeline_mini"


def test_environment_variables_are_percent_quoted_within_a_url(load: Load) -> None:
    environ = {"PW": "p@s/s:w#o%r d{x}", "DB": "d"}
    expected = "postgresql://u:p%40s%2Fs%3Aw%23o%25r%20d%7Bx%7D@h/d"
    assert url(load, "postgresql://u:{$PW}@h/{$DB}", environ) == expected


def test_a_variable_that_begins_the_url_holds_a_url(load: Load) -> None:
    environ = {"SERVER": "postgresql://u:p%40@h:5433"}
    assert url(load, "{$SERVER}/db", environ) == "postgresql://u:p%40@h:5433/db"


def test_url_attrs_file_gives_quoted_parts_and_wins_over_names(load: Load, file: Path) -> None:
    (file.parent / "attrs.yaml").write_text('username: "a b"\npassword: "{@}"\nport: 5433')
    given = "postgresql://{username}:{password}@{instance_id}:{port}/db"
    expected = "postgresql://a%20b:%7B%40%7D@mini:5433/db"
    assert url(load, given, rest="url_attrs_file: attrs.yaml") == expected


def test_url_attrs_file_is_read_only_for_a_url_that_needs_it(load: Load) -> None:
    rest = 'url_attrs_file: "{$UNSET}"'
    assert url(load, "embedded", rest=rest) == "embedded"
    assert url(load, "postgresql://{$H}/db", {"H": "h"}, rest) == "postgresql://h/db"
    environ = {"DATA_PIPELINE_DATABASE_URL": "postgresql://h/db"}
    assert url(load, "postgresql://{password}@h/db", environ, rest) == "postgresql://h/db"


def test_database_url_from_the_environment_replaces_all_and_is_taken_as_it_is(load: Load) -> None:
    environ = {"DATA_PIPELINE_DATABASE_URL": "postgresql://u:{{a}@h/db"}
    assert url(load, "postgresql://h/other", environ) == "postgresql://u:{{a}@h/db"
    assert url(load, "postgresql://h/o", {"DATA_PIPELINE_DATABASE_URL": ""}) == "postgresql://h/o"


def test_attrs_and_lists_in_them_are_filled_in_too(load: Load) -> None:
    text = (
        'instances: {one: {attrs: {a: "{$X}", l: ["{instance_id}", {k: "{name}"}, 3], e: "{{}}"}}}'
    )
    attrs = load(text, {"X": "x"}).instance("one").attrs
    assert attrs == {"a": "x", "l": ["one", {"k": "data_pipeline"}, 3], "e": "{}"}


def test_variables_choose_setups_and_give_numbers_and_booleans(load: Load) -> None:
    text = """
name: "{$NAME}"
technical_setups: {loud: {table_store: {print_sql: "{$PRINT}"}}}
instances:
  full: {technical_setup: "{$SETUP}"}
  mini: {attrs: {copy_filtered_input: true, copy_source: full, copy_filter_cnt: "{$N}"}}
"""
    configuration = load(text, {"NAME": "n", "SETUP": "loud", "PRINT": "true", "N": "7"})
    assert configuration.name == "n"
    assert configuration.instance("full").table_store.print_sql
    assert configuration.instance("mini").attrs["copy_filter_cnt"] == 7


def test_the_home_directory_is_a_variable_that_is_always_set(load: Load) -> None:
    text = 'instances: {one: {blob_store: {base_path: "{$DATA_PIPELINE_HOME}/b"}}}'
    configuration = load(text)
    assert configuration.instance("one").blob_store.base_path == configuration.home / "b"


def test_relative_paths_start_at_the_file(load: Load, file: Path) -> None:
    one = load("instances: {one: {blob_store: {base_path: b/c}}}").instance("one")
    assert one.blob_store.base_path == file.parent / "b/c"


def test_a_user_without_a_name_is_an_error_only_where_the_name_is_used(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    environ = {"USER": ""}
    assert load("instances: {one: }", environ).instance("one").instance_id == "one"
    with pytest.raises(
        ConfigurationError, match=r"needs the user's name.*environment variable USER"
    ):
        load("instances: {one: {per_user: true}}", environ)
