"""A database URL is checked without being shown."""

import pickle

import pytest

from data_pipeline.instances import DatabaseUrl


@pytest.mark.parametrize(
    "text",
    [
        "embedded",
        "postgresql://h/d",
        "postgresql:///d?host=/var/run/postgresql",
        "postgresql+psycopg2://u@h:5432/d",
        "postgresql://u:p@/d?host=one:5432&host=other:5433",
        "postgresql://u:p%40@[::1]:5432/d?sslmode=require&connect_timeout=3",
    ],
)
def test_usable(text: str) -> None:
    assert DatabaseUrl(text).reveal() == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be 'embedded' or begin with 'postgresql://'"),
        ("mysql://u:secret@h/d", "must be 'embedded' or begin with 'postgresql://'"),
        ("postgres://u:secret@h/d", "must be 'embedded' or begin with 'postgresql://'"),
        ("postgresql:u:secret@h/d", "must be 'embedded' or begin with 'postgresql://'"),
        ("postgresql://u:secret@h:x/d", "host and port cannot be read"),
        ("postgresql://u:secret@h:99999/d", "host and port cannot be read"),
        ("postgresql://u:secret@h:1,i:2/d", r"several hosts .*\?host=one:5432&host=other:5432"),
        ("postgresql://u:secret@h:0/d", "port must be between"),
        ("postgresql://u:[secret@h/d", "host and port cannot be read"),
        ("postgresql://u:secret%@h/d", "'%' is not followed by two hexadecimal digits"),
        ("postgresql://u:sec ret@h/d", "white space"),
        ("postgresql://u:sec@ret@h/d", "cannot be told apart"),
        ("postgresql://u:1/secret@h/d", "cannot be told apart"),
        ("postgresql://u:1#secret@h/d", "cannot be told apart"),
        ("postgresql://u:1?secret@h/d", "cannot be told apart"),
        ("postgresql://u:secret@h", "must end with '/' and the name of one database"),
        ("postgresql://u:secret@h/", "must end with '/' and the name of one database"),
        ("postgresql://u:secret@h/a/b", "must end with '/' and the name of one database"),
        ("postgresql://u:secret@h/d?sslmode", "key=value pairs"),
    ],
)
def test_unusable(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        DatabaseUrl(text)
    assert "secret" not in str(caught.value)
    assert caught.value.__context__ is None


def test_what_is_shown_masks_password_and_parameters() -> None:
    url = DatabaseUrl("postgresql://u:secret@h:1/d?sslpassword=secret")
    assert str(url) == f"{url}" == "postgresql://u:***@h:1/d?***"
    assert repr(url) == "DatabaseUrl('postgresql://u:***@h:1/d?***')"


def test_identity_tells_databases_apart_but_not_users() -> None:
    here = DatabaseUrl("postgresql://u:p@h/d").identity
    assert here == DatabaseUrl("postgresql+psycopg2://v:q@H:5432/d?sslmode=require").identity
    assert here != DatabaseUrl("postgresql://u:p@h:5433/d").identity
    assert here != DatabaseUrl("postgresql://u:p@h/e").identity
    assert here != DatabaseUrl("postgresql://u:p@h/d?host=other").identity
    assert here != DatabaseUrl("embedded").identity


def test_it_survives_pickling_and_compares_by_its_text() -> None:
    url = DatabaseUrl("postgresql://u:p@h/d")
    assert pickle.loads(pickle.dumps(url)) == url
    assert hash(url) == hash(DatabaseUrl("postgresql://u:p@h/d"))
    assert url != DatabaseUrl("postgresql://u:q@h/d")
    assert url.database == "d"
