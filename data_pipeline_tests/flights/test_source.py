"""The source: the real CSV files, with the types, keys and relationships that we declare."""

import pandas as pd
import pytest

from data_pipeline.errors import DataPipelineError
from data_pipeline.pipelines.flights import raw, source
from data_pipeline.store.table_properties import declared_properties


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {name: source.read_source(name) for name in source.FILES}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("airlines", 16),
        ("airports", 1458),
        ("planes", 3322),
        ("weather", 26115),
        ("flights", 336776),
    ],
)
def test_all_rows_arrive(tables: dict[str, pd.DataFrame], name: str, rows: int) -> None:
    assert len(tables[name]) == rows


@pytest.mark.parametrize("name", source.FILES)
def test_columns_have_the_declared_types(tables: dict[str, pd.DataFrame], name: str) -> None:
    assert tables[name].dtypes.astype(str).to_dict() == source.COLUMNS[name]


@pytest.mark.parametrize("asset", raw.assets, ids=lambda asset: asset.key.path[-1])
def test_declared_keys_are_unique_and_not_null(
    tables: dict[str, pd.DataFrame], asset: object
) -> None:
    name, properties = _declared(asset)
    key = list(properties.primary_key)
    assert not tables[name].duplicated(key).any()
    assert not tables[name][key].isna().any(axis=None)


@pytest.mark.parametrize("asset", raw.assets, ids=lambda asset: asset.key.path[-1])
def test_columns_declared_not_null_have_no_null(
    tables: dict[str, pd.DataFrame], asset: object
) -> None:
    name, properties = _declared(asset)
    required = properties.not_null(list(tables[name].columns))
    assert not tables[name][required].isna().any(axis=None)


@pytest.mark.parametrize("asset", raw.assets, ids=lambda asset: asset.key.path[-1])
def test_only_the_known_references_dangle(tables: dict[str, pd.DataFrame], asset: object) -> None:
    name, properties = _declared(asset)
    known = {("flights", "dest"): 7602, ("flights", "tailnum"): 50094}
    known[("flights", "time_hour,origin")] = 1556
    for key in properties.foreign_keys:
        child = tables[name][list(key.columns)].dropna()
        parent = tables[key.references][list(key.referenced_columns)].set_axis(
            child.columns, axis=1
        )
        found = child.merge(parent, how="left", indicator=True)["_merge"] == "left_only"
        assert found.sum() == known.get((name, ",".join(key.columns)), 0), key


def test_missing_tail_numbers_are_null_and_not_text(tables: dict[str, pd.DataFrame]) -> None:
    assert tables["flights"]["tailnum"].isna().sum() == 2512


def test_hours_of_flights_and_weather_are_instants_of_the_local_hour(
    tables: dict[str, pd.DataFrame],
) -> None:
    for name in ("flights", "weather"):
        local = tables[name]["time_hour"].dt.tz_convert("America/New_York").dt
        assert (local.hour == tables[name]["hour"]).all()
        assert (local.day == tables[name]["day"]).all()


def test_a_source_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(DataPipelineError, match=r"'flights'.*pip install.*\[flights\]"):
        source.source_file("flights", package="a_package_that_nobody_has")


def test_a_package_without_the_file_is_named_with_the_path() -> None:
    with pytest.raises(DataPipelineError, match=r"'json' has no file .*flights\.csv\.zip"):
        source.source_file("flights", package="json")


def test_a_file_with_other_columns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(source.COLUMNS, "airlines", {"carrier": "string", "title": "string"})
    with pytest.raises(DataPipelineError, match=r"airlines\.csv .*'name'.*'title'"):
        source.read_source("airlines")


def _declared(asset: object) -> tuple[str, object]:
    (spec,) = asset.specs
    return spec.key.path[-1], declared_properties(spec.metadata)
