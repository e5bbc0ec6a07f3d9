"""What was computed before modules of this package moved is not computed again."""

from pathlib import Path

import pytest

import data_pipeline
from data_pipeline.code_version.changed_elsewhere import ChangedElsewhere
from data_pipeline.code_version.own_names import part_name
from data_pipeline.code_version.project_code import Definition, ProjectCode
from data_pipeline.definitions import defs

BEFORE = {
    "flights_clean/flights": "d56397a4bf3d78c0",
    "flights_clean/planes": "b818f04cc1c90aa5",
    "flights_transformed/departures": "b3991b009f5cd114",
    "flights_evaluation/estimates": "cdf8c1c666b712d4",
    "flights_model/late_arrival_model": "ce0a3509b549d4f7",
    "flights_inputs/flights": "07ed43fd18fc6b5d",
}
"""Code versions of assets that use code of this package, when it lay in `tables` and `sampling`.

Whoever changes one of these assets writes its new version here.
"""


@pytest.mark.parametrize("name", BEFORE)
def test_assets_have_the_code_version_of_before(name: str) -> None:
    graph = defs.get_repository_def().asset_graph
    [found] = [
        node
        for key in graph.get_all_asset_keys()
        if (node := graph.get(key)) and "/".join(key.path) == name
    ]
    assert found.code_version == BEFORE[name]


def test_what_the_package_notes_of_a_project_is_no_code() -> None:
    package = Path(data_pipeline.__file__).parents[1]
    elsewhere = ChangedElsewhere(ProjectCode([package]))
    assert elsewhere.fillers(Definition("data_pipeline.authoring.stage", "_found")) == []


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("data_pipeline.results.sql_query", "sql_query", "data_pipeline.tables.sql.sql_query"),
        ("data_pipeline.database.identifiers", "_Uuid", "data_pipeline.tables.literals._Uuid"),
        ("data_pipeline.database.identifiers", "_Uuid.a", "data_pipeline.tables.literals._Uuid.a"),
        ("data_pipeline.database.identifiers", "quoted", "data_pipeline.tables.names.quoted"),
        ("shop.clean", "quoted", "shop.clean.quoted"),
    ],
)
def test_code_keeps_its_name_wherever_it_moves(module: str, name: str, expected: str) -> None:
    assert part_name(module, name) == expected
