"""Every process gives the same code version, in whatever order it goes through sets."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = """
import dagster as dg
import pandas as pd
from data_pipeline import INSTANCE_PARTITIONS, Stage, copy_inputs
from data_pipeline.code_version.code_version import code_versions
from data_pipeline.definitions import defs


KINDS = {"pandas", "duckdb", "postgres"}
TAGS = {name: name for name in KINDS}

def said(context):
    return context.assets_def, context.asset_key, context.op_def

def by_spec(spec, names):
    @dg.asset(key=spec.key, kinds=KINDS, tags=TAGS, metadata=TAGS, op_tags=TAGS)
    def made(context):
        return spec, names, said(context).metadata_by_key
    return made

def by_stage(names):
    @Stage("s").table(tags=TAGS)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"a": sorted(names)})
    return t

@dg.multi_asset(specs=[dg.AssetSpec(name, kinds=KINDS, tags=TAGS) for name in ("b", "a", "c")])
def several(context):
    return context.assets_def.metadata_by_key, dict(context.op_def.tags)

made = [
    by_spec(dg.AssetSpec(["s", "u"], kinds=KINDS, tags=TAGS, metadata=TAGS), KINDS),
    by_stage(KINDS),
    several,
]
shipped = [item for item in defs.assets if isinstance(item, dg.AssetsDefinition)]
if __name__ == "__main__":
    import json
    found = code_versions([*made, *shipped])
    print(json.dumps({str(key): version.version for key, version in found.items()}))
"""


def test_processes_agree(tmp_path: Path) -> None:
    (tmp_path / "agreeing.py").write_text(PROJECT)
    (tmp_path / "pyproject.toml").write_text("")

    def versions(seed: int) -> dict[str, str]:
        here = Path(__file__).parents[2]
        env = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(here)}
        command = [sys.executable, "-W", "ignore", "agreeing.py"]
        ended = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        return dict(json.loads(ended.stdout))

    one = versions(1)
    assert len(one) > 20
    for seed in (2, 3, 4):
        assert versions(seed) == one
