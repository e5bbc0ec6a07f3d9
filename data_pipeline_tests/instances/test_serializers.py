"""`blob_store.serializers` names serialisers by type, and imports nothing."""

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.instances.conftest import Load


def chosen(text: str) -> str:
    return f"instances: {{one: {{blob_store: {{serializers: {text}}}}}}}"


def test_by_default_there_is_none(load: Load) -> None:
    assert load("instances: {one: }").instance("one").blob_store.serializers == {}


def test_choices_are_inherited_by_type(load: Load) -> None:
    text = """
technical_setups: {default: {blob_store: {serializers: {no.A: "no.x:a", no.B: "no.x:b"}}}}
instances:
  one: {blob_store: {serializers: {no.B: null, no.c.D.E: "no:d.e"}}}
  two:
"""
    configuration = load(text)
    one, two = configuration.instance("one"), configuration.instance("two")
    assert one.blob_store.serializers == {"no.A": "no.x:a", "no.c.D.E": "no:d.e"}
    assert two.blob_store.serializers == {"no.A": "no.x:a", "no.B": "no.x:b"}
    assert len({one, two}) == 2


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("x", "", "a mapping of keys is needed here"),
        ("{Model: 'a:b'}", ".Model", "a key here must be a type, 'package.module.Type', and 'Mode"),
        ("{a.B: b.c}", ".a.B", "'b.c' does not fit: a serializer is written 'package.module:seri"),
        ("{a.B: 'b:c:d'}", ".a.B", "a serializer is written 'package.module:serializer'"),
        ("{a.B: 7}", ".a.B", "7 does not fit: input should be a valid string"),
        ("{a.B: {c: d}}", ".a.B", "a single value is needed here, not a mapping"),
    ],
)
def test_other_forms_are_errors_at_their_key(load: Load, text: str, key: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(chosen(text))
    assert f"instances.one.blob_store.serializers{key}: " in str(caught.value)
    assert message in str(caught.value)
