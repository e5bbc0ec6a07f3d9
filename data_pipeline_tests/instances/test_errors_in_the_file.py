"""Each flaw of the file is an error that names file, key and remedy."""

import re
from pathlib import Path

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.instances.conftest import Load

ONE = "instances: {one: }\n"


def in_store(text: str) -> str:
    return f"instances: {{one: {{table_store: {{{text}}}}}}}"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        # keys
        (f"{ONE}instance: 3", "", "unknown key 'instance'. Did you mean 'instances'? Known here:"),
        ("instances: {one: {atrs: }}", "instances.one", "unknown key 'atrs'. Did you mean 'attrs"),
        (in_store("print_sq: 1"), "instances.one.table_store",
         "unknown key 'print_sq'. Did you mean 'print_sql'?"),
        (f"{ONE}table_store_connections: {{c: {{urll: x}}}}", "table_store_connections.c",
         "unknown key 'urll'. Did you mean 'url'?"),
        (f"{ONE}blob_store_connections: {{c: {{path: x}}}}", "blob_store_connections.c",
         "unknown key 'path'. Did you mean 'base_path'?"),
        (f"{ONE}technical_setups: {{t: {{cache_valid: x}}}}", "technical_setups.t",
         "unknown key 'cache_valid'. Did you mean 'cache_validation'?"),
        ("instances: {one: {cache_slots: 3}}", "instances.one", "unknown key 'cache_slots'."),
        ("instances: {1: }", "instances", "the key 1 is not a text. Write it as '1'."),
        ("instances: {one: {attrs: {on: 1}}}", "instances.one.attrs", "the key True is not a"),
        (f"{ONE}instances: {{two: }}", "", "the key 'instances' stands twice in one mapping"),
        # wrong types
        (in_store("print_sql: maybe"), "instances.one.table_store.print_sql",
         "'maybe' does not fit: input should be a valid boolean, unable to interpret input. Write "
         "true or false."),
        (in_store("unlogged: [1]"), "instances.one.table_store.unlogged", "[1] does not fit:"),
        (in_store("schema_prefix: 3"), "instances.one.table_store.schema_prefix",
         "3 does not fit: input should be a valid string. Write a text"),
        (in_store("url: 3"), "instances.one.table_store.url", "is of type int, not a text. Put it"),
        (in_store("url: {a: b}"), "instances.one.table_store.url",
         "a single value is needed here, not a mapping."),
        ("instances: {one: {table_store: 3}}", "instances.one.table_store",
         "a mapping of keys is needed here, not a value of type int. Known here:"),
        ("instances: [one]", "instances", "a mapping of keys is needed here, not a value of type "
         "list. Write 'name: value' entries below it."),
        ("instances: {one: {per_user: 7}}", "instances.one.per_user", "7 does not fit: input"),
        ("instances: {one: {instance_id: 7}}", "instances.one.instance_id", "7 does not fit:"),
        ("instances: {one: {blob_store: {base_path: 7}}}", "instances.one.blob_store.base_path",
         "7 does not fit: input is not a valid path"),
        ("instances: {one: {blob_store: {base_path: ''}}}", "instances.one.blob_store.base_path",
         "the path is empty. Name a directory."),
        ("instances: {one: {cache_validation: {mode: fast}}}",
         "instances.one.cache_validation.mode", "'fast' does not fit: "
         "input should be 'normal', 'ignore_fresh_input', 'assert_no_fresh_input', "
         "'force_fresh_input' or 'force_cache_invalid'. Choose one of these."),
        (f"{ONE}name: [x]", "name", "the name ['x'] is not a text."),
        # a value that is inherited is an error where it was written
        (f"{ONE}technical_setups: {{default: {{table_store: {{print_sql: maybe}}}}}}",
         "technical_setups.default.table_store.print_sql", "'maybe' does not fit"),
        ("instances: {__any__: {per_user: maybe}, one: }", "instances.__any__.per_user", "'maybe'"),
        # placeholders
        (in_store('print_sql: "{$UNSET}"'), "instances.one.table_store.print_sql",
         "environment variable 'UNSET' is not set, and {$UNSET} asks for it. Set UNSET, or write "
         "the value here instead."),
        (in_store('schema_prefix: "{instanceid}_"'), "instances.one.table_store.schema_prefix",
         "unknown placeholder {instanceid}. Did you mean 'instance_id'? Known here: 'instance_id', "
         "'name', 'username'. Literal braces are written {{instanceid}}."),
        (in_store('url: "postgresql://{host}/d"'), "instances.one.table_store.url",
         "unknown placeholder {host}. Known here: 'instance_id', 'name', 'username'. Or name a "
         "YAML file with a key 'host' in url_attrs_file."),
        ('instances: {one: {attrs: {a: "x{"}}}', "instances.one.attrs.a",
         "a brace stands alone. Write a literal brace twice: '{{' or '}}'."),
        ('instances: {one: {attrs: {a: [0, {b: "}"}]}}}', "instances.one.attrs.a[1].b", "a brace"),
        # references
        ("instances: {one: {technical_setup: x}}\ntechnical_setups: {y: }",
         "instances.one.technical_setup", "'x' is not in technical_setups. Known here: 'y'."),
        ("instances: {one: {technical_setup: x}}", "instances.one.technical_setup",
         "'x' is not in technical_setups. Known here: none."),
        (in_store("table_store_connection: postgre") + "\ntable_store_connections: {postgres: }",
         "instances.one.table_store.table_store_connection",
         "'postgre' is not in table_store_connections. Did you mean 'postgres'?"),
        ("instances: {one: {blob_store: {blob_store_connection: [x]}}}",
         "instances.one.blob_store.blob_store_connection",
         "['x'] is not in blob_store_connections. Known here: none."),
        (f"{ONE}technical_setups: {{defualt: }}", "technical_setups.defualt",
         "instances that name no setup take 'default', which is not there. Did you"),
        ("instances: {one: {attrs: {sampel: {}}}}", "instances.one.attrs.sampel",
         "the key 'sampel' has no meaning, but is too much like one that has."),
        # instances and their names
        ("name: x", "instances", "there is no instance. Add one, such as 'full:"),
        ("instances: {__any__: }", "instances", "there is no instance. Add one, such as 'full:"),
        ("instances: {Full: }", "instances.Full", "'Full' cannot be the name of an instance. Use"),
        ("instances: {a-b: }", "instances.a-b", "'a-b' cannot be the name of an instance. Use"),
        ("instances: {pipeline: }", "instances.pipeline",
         "'pipeline' is the name of the job that runs any instance. Choose another name"),
        *(
            (f"instances: {{one: {{instance_id: {name}}}}}", "instances.one.instance_id",
             f"'{name}' cannot be an instance id. Use lower-case letters, digits and single")
            for name in ("One", "a__b", "_a", "a_", "2a", "a-b", "ä")
        ),
        ("instances: {one: {instance_id: pg_x}}", "instances.one.instance_id",
         "'pg_x': PostgreSQL keeps schemas that begin with 'pg_' for itself. Choose another"),
        (in_store("schema_prefix: other_"), "instances.one.table_store.schema_prefix",
         "the schema prefix 'other_' does not begin with 'one_', so this instance could reach "
         "schemas of others. Begin it with '{instance_id}_'"),
        (in_store("schema_prefix: one"), "instances.one.table_store.schema_prefix", "does not"),
        (in_store("schema_prefix: one_X"), "instances.one.table_store.schema_prefix", "the schema"),
        # URLs
        (in_store('url: "mysql://h/d"'), "instances.one.table_store.url",
         "no usable database URL: it must be 'embedded' or begin with 'postgresql://'. Write "
         "'embedded' or 'postgresql://user:password@host:port/database'."),
        (in_store('url: "postgresql://h"'), "instances.one.table_store.url",
         "no usable database URL: it must end with '/' and the name of one database."),
        # YAML
        ("instances: {one: ", "", "is not valid YAML: expected the node content, but found"),
        ("instances:\n  one: }", "", "in line 2, column 8. Correct it there."),
        ("instances: {one: {attrs: {d: 2024-13-01}}}", "", "has a value that its type does not"),
        ("", "", "is empty. Write a YAML mapping of keys to values."),
        ("- one", "", "is no mapping. Write a YAML mapping of keys to values."),
    ],
)  # fmt: skip # one case a line or two is easier to survey
def test_a_flaw_of_the_file(load: Load, file: Path, text: str, key: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        load(text)
    assert str(caught.value).startswith(f"{file}: {key}: " if key else f"{file}: ")


def test_unused_parts_may_need_what_is_not_there(load: Load) -> None:
    text = """
table_store_connections: {pg: {url: "{$UNSET}", url_attrs_file: "{$UNSET}"}}
blob_store_connections: {b: {base_path: "{$UNSET}"}}
technical_setups: {other: {table_store: {table_store_connection: pg, print_sql: "{$UNSET}"}}}
instances: {one: }
"""
    found = load(text)
    assert found.instance("one").table_store.url.is_embedded
    assert found.unused == ("table_store_connections.pg", "blob_store_connections.b")
    with pytest.raises(
        ConfigurationError, match=r"technical_setups\.other\.table_store\.print_sql: .*'UNSET'"
    ):
        load(text.replace("{one: }", "{one: {technical_setup: other}}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"attrs\.yaml cannot be read \(No such file or directory\)\. Correct the path, or"),
        ("", r"attrs\.yaml is empty\. Write a YAML mapping"),
        ("[a]", r"attrs\.yaml is no mapping\. Write a YAML mapping"),
        ("a: [", r"attrs\.yaml is not valid YAML: a syntax error or a key twice in line 1, column"),
        ("a: 1\na: 2", r"attrs\.yaml is not valid YAML: a syntax error or a key twice in line 2"),
        ("host: [h]", r"the value of 'host' in .*attrs\.yaml is neither a text nor a whole number"),
    ],
)
def test_flaws_of_a_url_attrs_file(
    load: Load, file: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (file.parent / "attrs.yaml").write_text(content)
    key = re.escape(f"{file}: instances.one.table_store.url_attrs_file: ")
    with pytest.raises(ConfigurationError, match=f"{key}.*{message}"):
        load(in_store('url: "postgresql://{host}/d", url_attrs_file: attrs.yaml'))


def test_a_directory_is_no_url_attrs_file(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Is a directory\)"):
        load(in_store('url: "postgresql://{host}/d", url_attrs_file: "."'))


def test_a_url_attrs_file_without_the_key_that_is_needed(load: Load, file: Path) -> None:
    (file.parent / "attrs.yaml").write_text("username: u")
    key = re.escape(f"{file}: instances.one.table_store.url: ")
    with pytest.raises(
        ConfigurationError, match=rf"{key}url_attrs_file has no key 'host', .* Add 'host' to that"
    ):
        load(in_store('url: "postgresql://{username}@{host}/d", url_attrs_file: attrs.yaml'))


def test_a_url_from_the_environment_is_checked_under_its_variable(load: Load) -> None:
    with pytest.raises(
        ConfigurationError,
        match="environment variable DATA_PIPELINE_DATABASE_URL: no usable database URL: it must be",
    ):
        load(ONE, {"DATA_PIPELINE_DATABASE_URL": "mysql://h/d"})


def test_a_missing_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    with pytest.raises(
        ConfigurationError,
        match=r"missing\.yaml cannot be read \(No such .*\)\. Name an existing file in DATA_PIPE",
    ):
        load_configuration(environ={"DATA_PIPELINE_CONFIG": str(missing)})


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("name: ü".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"is not UTF-8\. Save it as UTF-8"):
        load_configuration(file, environ={})
