"""Wind observations: directions become sectors, impossible values become NULL."""

import pandas as pd
import pytest

from data_pipeline.pipelines.flights.clean import parse_wind


def wind(direction: float | None, speed: float | None, gust: float | None = None) -> pd.DataFrame:
    columns = {"wind_dir": direction, "wind_speed": speed, "wind_gust": gust}
    return pd.DataFrame({name: pd.Series([v], dtype="Float64") for name, v in columns.items()})


@pytest.mark.parametrize(
    ("direction", "sector"),
    [(360, "N"), (340, "N"), (10, "N"), (40, "NE"), (90, "E"), (200, "S"), (270, "W"), (330, "NW")],
)
def test_the_sector_is_where_the_wind_comes_from(direction: float, sector: str) -> None:
    assert parse_wind(wind(direction, 10.0)).loc[0, "wind_from"] == sector


def test_no_wind_is_calm_and_has_no_sector() -> None:
    assert parse_wind(wind(0, 0.0)).loc[0, "wind_from"] == "calm"


def test_wind_without_a_direction_is_variable() -> None:
    assert parse_wind(wind(None, 5.0)).loc[0, "wind_from"] == "variable"


@pytest.mark.parametrize("direction", [None, 0, -10, 400])
def test_neither_direction_nor_speed_is_unknown(direction: float | None) -> None:
    assert parse_wind(wind(direction, None)).loc[0, "wind_from"] is pd.NA


def test_the_speed_of_a_faulty_sensor_is_null_and_the_direction_stays() -> None:
    row = parse_wind(wind(260, 1048.36058, 2000.0)).loc[0]
    assert row["wind_speed_mph"] is pd.NA
    assert row["wind_gust_mph"] is pd.NA
    assert row["wind_from"] == "W"


@pytest.mark.parametrize("rows", [0, 1])
def test_types_do_not_depend_on_the_rows(rows: int) -> None:
    parsed = parse_wind(wind(None, None).head(rows))
    assert parsed.dtypes.astype(str).to_dict() == {
        "wind_from": "string",
        "wind_speed_mph": "Float64",
        "wind_gust_mph": "Float64",
    }
    assert len(parsed) == rows
