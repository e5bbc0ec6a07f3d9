"""Passwords never appear in a text, whichever way they come in and whatever is wrong."""

import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Configuration, DatabaseUrl, load_configuration

PASSWORDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12
).map(lambda text: f"pw{text}wp")
"""Anything, but recognisable in a text."""

relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def document(url: str, **store: object) -> dict[str, object]:
    return {"instances": {"full": {"table_store": {"url": url, **store}}}}


def texts(configuration: Configuration) -> str:
    full = configuration.instance("full")
    store = full.table_store
    dumps = [store.model_dump(), store.model_dump_json(), vars(full), dict(store)]
    shown = [f"{thing} {thing!r}" for thing in (configuration, full, store, store.url, *dumps)]
    return "\n".join(shown)


def in_attrs_file(password: str, tmp: Path) -> tuple[dict[str, object], dict[str, str]]:
    (tmp / "attrs.yaml").write_text(yaml.safe_dump({"password": password}), encoding="utf-8")
    return document("postgresql://u:{password}@h/d", url_attrs_file="attrs.yaml"), {}


def in_variable(password: str, tmp: Path) -> tuple[dict[str, object], dict[str, str]]:
    return document("postgresql://u:{$PW}@h/d"), {"PW": password}


def in_file(password: str, tmp: Path) -> tuple[dict[str, object], dict[str, str]]:
    return document(f"postgresql://u:{quote(password, safe='')}@h/d"), {}


def in_database_url(password: str, tmp: Path) -> tuple[dict[str, object], dict[str, str]]:
    url = f"postgresql://u:{quote(password, safe='')}@h/d"
    return document("embedded"), {"DATA_PIPELINE_DATABASE_URL": url}


WAYS = pytest.mark.parametrize("way", [in_attrs_file, in_variable, in_file, in_database_url])
Way = Callable[[str, Path], tuple[dict[str, object], dict[str, str]]]


@WAYS
@relaxed
@given(password=PASSWORDS)
def test_it_reaches_the_url_and_nothing_that_is_shown(
    way: Way, password: str, tmp_path: Path
) -> None:
    content, environ = way(password, tmp_path)
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    configuration = load_configuration(file, environ=environ)
    quoted = quote(password, safe="")
    assert configuration.instance("full").table_store.url.reveal().count(quoted) == 1
    shown = texts(configuration)
    assert password not in shown
    assert quoted not in shown


@relaxed
@given(password=PASSWORDS, before=st.sampled_from(["", "mysql://u:", "postgresql://u:"]))
def test_a_password_that_breaks_the_url_is_not_in_the_error(
    password: str, before: str, tmp_path: Path
) -> None:
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump(document("embedded")))
    environ = {"DATA_PIPELINE_DATABASE_URL": f"{before}{password}@h:x/d"}
    with pytest.raises(ConfigurationError, match="DATA_PIPELINE_DATABASE_URL") as caught:
        load_configuration(file, environ=environ)
    assert password not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:secret@h/d",
        "postgresql://u:secret@h:port/d",
        "postgresql://u:secret@h/d/e",
        "postgresql://u:{secret@h/d",
        "postgresql://u:secret}@h/d",
        "postgresql://u:secret@h/{unknown}",
        "postgresql://u:secret@h/{$UNSET}",
        ["postgresql://u:secret@h/d"],
        {"postgresql": "secret"},
    ],
)
def test_no_flaw_of_a_url_in_the_file_shows_it(url: object, tmp_path: Path) -> None:
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump({"instances": {"full": {"table_store": {"url": url}}}}))
    with pytest.raises(ConfigurationError, match=r"instances\.full\.table_store\.url") as caught:
        load_configuration(file, environ={})
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "store",
    [
        {"url": "postgresql://u:secret@h/d", "print_sql": "maybe"},
        {"url": "postgresql://u:secret@h/d", "schema_prefix": "other_"},
        {"url": "embedded", "schema_prefix": "postgresql://u:secret@h/d"},
        {"url": "embedded", "print_sql": "postgresql://u:secret@h/d"},
        {"url": "embedded", "postgresql://u:secret@h/d": None},
    ],
)
def test_no_flaw_beside_a_url_shows_it(store: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "instances.yaml"
    file.write_text(yaml.safe_dump({"instances": {"full": {"table_store": store}}}))
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file, environ={})
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "content",
    [
        "password: *secret",
        "password: !secret x",
        "password: [secret",
        "password: a\npassword: secret",
        "secret",
        "- secret",
        "password: [secret]",
        "password: 1.5",
        "password: true",
        "key: secret",
    ],
)
def test_no_flaw_of_an_attrs_file_shows_what_is_in_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "attrs.yaml").write_text(content)
    file = tmp_path / "instances.yaml"
    url = "postgresql://u:{password}@h/d"
    file.write_text(yaml.safe_dump(document(url, url_attrs_file="attrs.yaml")))
    with pytest.raises(ConfigurationError, match="attrs") as caught:
        load_configuration(file, environ={})
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_instances_in_different_databases_are_named_without_passwords(tmp_path: Path) -> None:
    file = tmp_path / "instances.yaml"
    copying = {"copy_filtered_input": True, "copy_source": "full"}
    content = {
        "instances": {
            "full": {"table_store": {"url": "postgresql://u:secret@h/one"}},
            "mini": {"table_store": {"url": "postgresql://u:secret@h/two"}, "attrs": copying},
        }
    }
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=r"u:\*\*\*@h/two.*u:\*\*\*@h/one") as caught:
        load_configuration(file, environ={})
    assert "secret" not in str(caught.value)


def test_a_url_in_a_message_is_masked_however_it_is_formatted() -> None:
    url = DatabaseUrl("postgresql://u:secret@h/d")
    assert "secret" not in f"{url} {url!r} {url!s} {[url]} {[url]!s}"
