"""Code versions of a real pipeline: a copy of `flights`, edited."""

from pathlib import Path

import pytest

from data_pipeline.pipelines import flights
from data_pipeline_tests.code_version.made_project import MadeProject

SOURCE = Path(flights.__file__).parent
ORIGINAL = flights.__name__

# File, old text, new text, and the assets whose code uses it.
EDITS = {
    "a constant of a helper": (
        ("clean.py", "MAX_WIND_MPH = 150.0", "MAX_WIND_MPH = 140.0"),
        {"flights_clean/weather"},
    ),
    "a helper of a helper": (
        ("clean.py", "values.between(low, high)", "values.between(low, high, 'left')"),
        {"flights_clean/weather"},
    ),
    "a constant that three modules use": (
        ("transformed.py", "LATE_MINUTES = 15", "LATE_MINUTES = 20"),
        {
            "flights_transformed/route_days",
            "flights_transformed/airlines",
            "flights_features/late_arrivals",
        },
    ),
    "SQL": (
        ("clean_planes.sql", "BETWEEN 1903", "BETWEEN 1904"),
        {"flights_clean/planes"},
    ),
    "types of the source": (
        ("source.py", '"alt": "Int64"', '"alt": "Float64"'),
        {
            f"flights_raw/{name}"
            for name in ("airlines", "airports", "flights", "planes", "weather")
        },
    ),
    "a method of the model": (
        ("estimator.py", "np.zeros(features.height)", "np.ones(features.height)"),
        {
            "flights_model/late_arrival_model",
            "flights_evaluation/predictions",
            "flights_evaluation/metrics",
        },
    ),
    "the plot": (
        ("plot.py", 'color="lightgrey"', 'color="grey"'),
        {"flights_model/late_arrival_model", "flights_evaluation/plot"},
    ),
    "a comment in a helper": (
        ("clean.py", "    direction =", "    # Degrees.\n    direction ="),
        set(),
    ),
    "a docstring": (("estimator.py", '"""Fits a model', '"""Trains a model'), set()),
    "an index of a table": (("clean.py", 'primary_key="faa"', 'primary_key="name"'), set()),
    "the owners": (("stage.py", '"team:data"', '"team:other"'), set()),
}


@pytest.fixture
def copied(tmp_path: Path) -> MadeProject:
    files = [path for path in SOURCE.iterdir() if path.suffix in (".py", ".sql")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    init = texts.pop("__init__.py")
    project = MadeProject(tmp_path, {name: _renamed(text) for name, text in texts.items()})
    project.write("__init__.py", _renamed(init))
    return project


def _renamed(text: str) -> str:
    return text.replace(ORIGINAL, "{pkg}")


@pytest.mark.filterwarnings("error::data_pipeline.code_version.code_warnings.UnresolvedCodeWarning")
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_exactly_the_assets_that_use_it(copied: MadeProject, name: str) -> None:
    edit, expected = EDITS[name]
    before = copied.versions("")
    copied.edit(*edit)
    after = copied.versions("")
    assert {key for key in before if before[key] != after[key]} == expected
