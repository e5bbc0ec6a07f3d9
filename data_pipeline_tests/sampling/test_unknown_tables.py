"""What a sample says of a table that is no input table is refused when everything is loaded."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from data_pipeline.assembly import check_samples
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline_tests.sampling.shop import Shop, configured

ROOTS = {"orders": {"rate": 0.1}}


def another_stage() -> list[dg.AssetsDefinition]:
    """Gives the stage `others` with the input table `things`."""

    @dg.asset(key=["raw", "things"], partitions_def=INSTANCE_PARTITIONS)
    def things() -> pd.DataFrame:
        return pd.DataFrame({"thing": [1, 2]})

    return [things, copy_filtered_inputs(stage="others", raw=[things])]


@pytest.mark.parametrize("root", ["orders", "inputs/orders"])
def test_input_tables_are_roots(tmp_path: Path, root: str) -> None:
    config = configured(tmp_path, midi={"roots": {root: {"rate": 0.1}}})
    check_samples(Shop().assets(), load_configuration(config))


@pytest.mark.parametrize(
    ("root", "close"), [("ordres", "orders"), ("inputs/ordrs", "inputs/orders"), ("xyz", None)]
)
def test_others_are_refused_with_what_is_possible(
    tmp_path: Path, root: str, close: str | None
) -> None:
    config = configured(tmp_path, midi={"roots": {root: {"rate": 0.1}}})
    question = f"Did you mean '{close}'? " if close else ""
    with pytest.raises(ConfigurationError) as caught:
        check_samples(Shop().assets(), load_configuration(config))
    assert str(caught.value) == (
        f"{config}: instances.midi.attrs.sample.roots: there is no input table `{root}`. "
        f"{question}Known here: 'clicks', 'customers', 'inputs/clicks', 'inputs/customers', "
        "'inputs/notes', 'inputs/orders', 'inputs/regions', 'notes', 'orders', 'regions'."
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pins": {"ordres": [{"number": 1}]}}, "pins: there is no input table `ordres`. Did you"),
        ({"pins": {"inptus/orders": [{"number": 1}]}}, "there is no input table `inptus/orders`"),
        ({"cover": {"columns": {"inputs/order": []}}}, "cover.columns: there is no input table"),
        ({"cover": {"predicates": {"xyz": {}}}}, "cover.predicates: there is no input table `xyz`"),
        (
            {"pins": {"others/things": [{"thing": 1}]}},
            "pins: nothing of stage `others` is sampled, so `others/things` has no effect here. "
            "Name a root of that stage, or leave it out.",
        ),
    ],
)
def test_so_is_all_else_that_is_said_of_a_table(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    config = configured(tmp_path, midi={"roots": ROOTS, **settings})
    with pytest.raises(ConfigurationError) as caught:
        check_samples([*Shop().assets(), *another_stage()], load_configuration(config))
    assert message in str(caught.value)


def test_tables_of_several_stages_need_no_stage_before_their_names(tmp_path: Path) -> None:
    roots = {**ROOTS, "things": {"rate": 0.1}}
    config = configured(tmp_path, midi={"roots": roots, "pins": {"things": [{"thing": 1}]}})
    check_samples([*Shop().assets(), *another_stage()], load_configuration(config))
