"""The pytest plugin: `instance_table`, `--instance-tables`, and a mark for each instance.

Every run of pytest in the environment loads this module, so it imports nothing but pytest.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from data_pipeline.testing.instance_tables import InstanceTables


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says what becomes of tests on stale tables."""
    parser.getgroup("data_pipeline").addoption(
        "--instance-tables",
        choices=("skip", "build"),
        default="skip",
        help="What instance_table does where a table is stale: skip the test, or build the table "
        "(default: skip)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the names of the instances as marks: `@pytest.mark.midi`, `pytest -m midi`."""
    for name in dict.fromkeys(_instance_names(config.rootpath)):
        config.addinivalue_line("markers", f"{name}: a test on the instance `{name}`")


@pytest.fixture(scope="session")
def instance_table(request: pytest.FixtureRequest) -> "InstanceTables":
    """Return a function that gives tables of instances: `instance_table("midi", "clean/orders")`.

    A test whose table is stale (its code or inputs have changed, or it was never built) is skipped;
    with `--instance-tables=build` the table is built before.
    """
    from data_pipeline.instances.code_location import code_modules
    from data_pipeline.testing.instance_tables import InstanceTables

    config = request.config
    started = config.invocation_params.dir
    folder = started if code_modules(started) else config.rootpath
    return InstanceTables(folder, builds=config.getoption("--instance-tables") == "build")


def _instance_names(root: Path) -> Iterator[str]:
    """Name the instances of the configuration files of a project, as far as they can be read.

    What is wrong with one is said when a test asks for a table.
    """
    chosen = os.environ.get("DATA_PIPELINE_CONFIG")
    places = ("instances.yaml", "*/instances.yaml", "src/*/instances.yaml")
    files = [Path(chosen)] if chosen else [file for place in places for file in root.glob(place)]
    for file in files:
        import yaml

        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        instances = content.get("instances") if isinstance(content, dict) else None
        for name in instances if isinstance(instances, dict) else ():
            if isinstance(name, str) and name.isidentifier() and not name.startswith("_"):
                yield name
