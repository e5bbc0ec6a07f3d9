"""Projects of users, in folders of their own, and the commands that they start there."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_pipeline_tests.launch import forked, processes

INSTANCES = """
name: bazaar
instances:
  whole: {}
  part: {attrs: {copy_filtered_input: true, copy_source: whole, copy_filter_cnt: 2}}
"""
ASSETS = """
import dagster as dg
import pandas as pd
from data_pipeline import INSTANCE_PARTITIONS, copy_filtered_inputs, table_properties

def loaded():
    return pd.DataFrame({"number": [1, 2, 3]})

@dg.asset(key=["bazaar_raw", "stalls"], partitions_def=INSTANCE_PARTITIONS,
          metadata=table_properties(primary_key="number"))
def stalls() -> pd.DataFrame:
    return loaded()

inputs = copy_filtered_inputs(stage="bazaar", raw=[stalls])

@dg.asset(key=["bazaar_result", "twice"], partitions_def=INSTANCE_PARTITIONS,
          ins={"stalls": dg.AssetIn(["bazaar", "stalls"])})
def twice(stalls: pd.DataFrame) -> pd.DataFrame:
    return stalls * 2

assets = [stalls, inputs, twice]
"""
DEFINITIONS = """
from data_pipeline import instance_definitions
from {package}.assets import assets

defs = instance_definitions(assets)
"""
PYPROJECT = '[tool.dagster]\nmodule_name = "{module}"\n'


@dataclass(frozen=True)
class Project:
    """A folder with a project of somebody, and the environment of their shell."""

    folder: Path
    env: Mapping[str, str]

    def write(self, **files: str) -> None:
        """Write files; `__` in a name stands for `/`, and `_dot_` for a dot."""
        for name, text in files.items():
            self.put(name.replace("__", "/").replace("_dot_", "."), text)

    def put(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def package(self, path: str, definitions: str = DEFINITIONS) -> None:
        """Write a package of three files: its assets, and the definitions."""
        name = Path(path).name
        self.put(f"{path}/__init__.py", "")
        self.put(f"{path}/assets.py", ASSETS)
        self.put(f"{path}/definitions.py", definitions.format(package=name))

    def run(
        self, *command: str, below: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder, or in one below it: programs of Python forked."""
        is_python = command[0] in ("dagster", "data-pipeline", "pytest")
        execute = forked.execute if is_python else processes.execute
        return execute(*command, env={**self.env, **environment}, cwd=self.folder / below)

    def succeed(self, *command: str, below: str = "", **environment: str) -> str:
        ended = self.run(*command, below=below, **environment)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def fail(self, *command: str, below: str = "", **environment: str) -> str:
        ended = self.run(*command, below=below, **environment)
        assert ended.returncode != 0, ended.stdout
        assert "data_pipeline.definitions" not in ended.stdout
        return ended.stdout
