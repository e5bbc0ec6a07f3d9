"""What only the assets tell, whether the stage of a root is whole, is told when they are loaded."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_pipeline.assembly import instance_definitions
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline_tests.memo.chains import configured, copy_of
from data_pipeline_tests.sampling.shop import Shop

FILTERED = {"copy_filter_cnt": 5}
WHOLE = {"copy_filter_rate": 1.0}


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, root: str, **copied: Any) -> None:
    """Loads the shop's tables in stage `inputs`, and two of them in stage `other`, too."""
    sample = {"roots": {root: {"rate": 0.5}}}
    configured(
        folder,
        monkeypatch,
        full=None,
        midi=copy_of("full", **copied),
        mini=copy_of("midi", sample=sample),
    )
    *tables, inputs = Shop(customers=4).assets()
    raw = [
        t.map_asset_specs(lambda spec: spec.replace_attributes(code_version="1")) for t in tables
    ]
    some = [asset for asset in raw if asset.key.path[-1] in ("notes", "regions")]
    other = copy_filtered_inputs(stage="other", raw=some)
    instance_definitions([*raw, inputs, other], configuration=load_configuration())


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("orders", {"copy_filter_overrides": {"inputs": FILTERED}}, "inputs"),
    ("orders", {"copy_filter_overrides": {"inputs/notes": FILTERED}}, "inputs"),
    ("notes", {"copy_filter_overrides": {"other": FILTERED}}, "other"),
    ("regions", {"sample": {"roots": {"other/notes": {"rate": 0.5}}}}, "other"),
    ("notes", {**FILTERED, "copy_filter_overrides": {"inputs": WHOLE}}, "other"),
]
ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("orders", {"copy_filter_overrides": {"other": FILTERED}}),
    ("inputs/notes", {"copy_filter_overrides": {"other": FILTERED}}),
    ("orders", {"sample": {"roots": {"other/notes": {"rate": 0.5}}}}),
    ("orders", {**FILTERED, "copy_filter_overrides": {"inputs": WHOLE}}),
    ("orders", {"copy_filter_overrides": {"inputs/unknown": FILTERED}}),
]


@pytest.mark.parametrize(("root", "copied", "stage"), REFUSED)
def test_a_root_in_a_stage_that_is_not_whole_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, copied: dict[str, Any], stage: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, monkeypatch, root, **copied)
    said = f"instances.mini.attrs.copy_source: stage '{stage}': instance 'mini' is a sample, but of"
    assert said in str(caught.value)
    assert "Set copy_source of 'mini' to 'full'" in str(caught.value)


@pytest.mark.parametrize(("root", "copied"), ACCEPTED)
def test_other_stages_may_be_filtered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, copied: dict[str, Any]
) -> None:
    loaded(tmp_path, monkeypatch, root, **copied)


def test_without_definitions_the_step_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_pipeline import instance_resources

    configured(
        tmp_path,
        monkeypatch,
        full=None,
        midi=copy_of("full", copy_filter_overrides={"inputs": FILTERED}),
        mini=copy_of("midi", sample={"roots": {"orders": {"rate": 0.5}}}),
    )
    with pytest.raises(ConfigurationError, match="Stage `inputs`: instance 'mini' is a sample"):
        dg.materialize_to_memory(
            Shop(customers=10).assets(),
            partition_key="mini",
            resources=instance_resources("mini", io_manager=False),
        )
