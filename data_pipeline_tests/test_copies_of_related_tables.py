"""Tables that refer to each other: how an instance takes their rows is said, not left over."""

import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml

from data_pipeline import ForeignKey, Stage, copy_filtered_inputs, instance_definitions
from data_pipeline.copies_of_related_tables import MissingKeyWarning
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Configuration, load_configuration

PLAIN = {"copy_filtered_input": True, "copy_source": "full"}


def configured(folder: Path, **attrs: Any) -> Configuration:
    file = folder / "instances.yaml"
    instances = {"full": {}, "midi": {"attrs": {**PLAIN, **attrs}}, "mini": {}}
    file.write_text(yaml.safe_dump({"instances": instances}))
    return load_configuration(file)


def frame() -> pd.DataFrame:
    return pd.DataFrame({"number": [1]})


def shop(*, related: bool = True, key: str | None = "number", to: str = "customers") -> list[Any]:
    raw = Stage("source")
    keys = [ForeignKey("customer", to, "number")] if related else []
    declared = {} if key is None else {"primary_key": key}
    raw.table(name="orders", foreign_keys=keys, **declared)(frame)
    raw.table(name="customers", **declared)(frame)
    return [*raw.assets, copy_filtered_inputs(stage="shop", raw=raw.assets)]


def other(**more: Any) -> list[Any]:
    raw = Stage("letters")
    raw.table(name="pages", primary_key="number", **more)(frame)
    return [*raw.assets, copy_filtered_inputs(stage="desk", raw=raw.assets)]


@pytest.mark.parametrize("chosen", [{"copy_filter_cnt": 2}, {"copy_filter_rate": 0.1}])
@pytest.mark.parametrize(
    "elsewhere", [{}, {"copy_filter_overrides": {"desk": {"copy_filter_cnt": 9}}}]
)
def test_a_filter_for_everything_is_no_choice(
    tmp_path: Path, chosen: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    [(word, value)] = chosen.items()
    configuration = configured(tmp_path, **chosen, **elsewhere)
    with pytest.raises(ConfigurationError) as error:
        instance_definitions([*shop(), *other()], configuration=configuration)
    text = str(error.value)
    assert f"{configuration.file}: instances.midi.attrs: the tables of stage 'shop' refer" in text
    assert "(orders -> customers)" in text
    assert text.splitlines()[1:] == [
        "  sample: {roots: {orders: {rate: 0.05}}}  # keeps what rows refer to",
        "  copy_filter_overrides: {shop: {copy_filter_rate: 1.0}}  # all rows",
        f"  copy_filter_overrides: {{shop: {{{word}: {value}}}}}  # rows of each table by itself",
    ]
    for line in text.splitlines()[1:]:
        made = configured(tmp_path, **chosen, **yaml.safe_load(line))
        instance_definitions([*shop(), *other()], configuration=made)


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"copy_filter_rate": 1.0},
        {"copy_filter_cnt": 2, "sample": {"roots": {"shop/orders": {"rate": 0.5}}}},
        {"copy_filter_cnt": 2, "copy_filter_overrides": {"shop/orders": {"copy_filter_cnt": 1}}},
    ],
)
def test_what_is_said_of_the_stage_or_keeps_all_rows_is_one(
    tmp_path: Path, attrs: dict[str, Any]
) -> None:
    instance_definitions([*shop(), *other()], configuration=configured(tmp_path, **attrs))


def test_without_relationships_a_filter_for_everything_is_enough(tmp_path: Path) -> None:
    assets = [*shop(related=False), *other()]
    instance_definitions(assets, configuration=configured(tmp_path, copy_filter_cnt=2))


@pytest.mark.parametrize("to", ["custmers", "letters/customers"])
def test_a_relationship_to_no_table_is_refused(tmp_path: Path, to: str) -> None:
    full = to if "/" in to else f"source/{to}"
    with pytest.raises(ConfigurationError) as error:
        instance_definitions(shop(to=to), configuration=configured(tmp_path))
    text = str(error.value)
    assert f"`source/orders` declares the relationship customer -> {to} (number), but" in text
    assert f"there is no table `{full}`. Did you mean '" in text
    known = dg.AssetSpec(full.split("/"))
    instance_definitions([*shop(to=to), known], configuration=configured(tmp_path))


def test_first_rows_of_tables_without_key_are_warned_of_once(tmp_path: Path) -> None:
    assets = [*shop(related=False, key=None), *other()]
    with pytest.warns(MissingKeyWarning) as caught:
        instance_definitions(assets, configuration=configured(tmp_path, copy_filter_cnt=2))
    [warning] = [item for item in caught if item.category is MissingKeyWarning]
    assert "`source/orders` (midi), `source/customers` (midi)" in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MissingKeyWarning)
        instance_definitions(assets, configuration=configured(tmp_path))
        instance_definitions(
            [*shop(related=False), *other()],
            configuration=configured(tmp_path, copy_filter_cnt=2),
        )
