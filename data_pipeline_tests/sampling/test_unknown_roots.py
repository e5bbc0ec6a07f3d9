"""The root of a sample that is no input table is refused when everything is loaded."""

from pathlib import Path

import pytest

from data_pipeline.assembly import check_roots
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.sampling.shop import Shop, configured


@pytest.mark.parametrize("root", ["orders", "inputs/orders"])
def test_input_tables_are_roots(tmp_path: Path, root: str) -> None:
    config = configured(tmp_path, midi={"roots": {root: {"rate": 0.1}}})
    check_roots(Shop().assets(), load_configuration(config))


@pytest.mark.parametrize(
    ("root", "close"), [("ordres", "orders"), ("inputs/ordrs", "inputs/orders"), ("xyz", None)]
)
def test_others_are_refused_with_what_is_possible(
    tmp_path: Path, root: str, close: str | None
) -> None:
    config = configured(tmp_path, midi={"roots": {root: {"rate": 0.1}}})
    question = f"Did you mean '{close}'? " if close else ""
    with pytest.raises(ConfigurationError) as caught:
        check_roots(Shop().assets(), load_configuration(config))
    assert str(caught.value) == (
        f"instances.midi.attrs.sample.roots: there is no input table `{root}`. {question}Known "
        "here: 'clicks', 'customers', 'inputs/clicks', 'inputs/customers', 'inputs/notes', "
        "'inputs/orders', 'inputs/regions', 'notes', 'orders', 'regions'."
    )
