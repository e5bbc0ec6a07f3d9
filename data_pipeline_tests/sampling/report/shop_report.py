"""The shop with a report, on the instances of a test."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_pipeline import instance_resources
from data_pipeline.sampling.report import sample_report
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.sampling.shop import Shop, configured

MIDI: dict[str, Any] = {
    "roots": {"customers": {"rate": 0.2}},
    "salt": 3,
    "pins": {"customers": [{"customer": 1}]},
}
RAW = ("regions", "customers", "orders", "clicks", "notes")
REPORT = dg.AssetKey(["sample", "inputs__report"])


def assets(shop: Shop) -> list[dg.AssetsDefinition]:
    found = shop.assets(weights=True)
    return [*found, sample_report(stage="inputs", raw=found[:-1])]


def build(shop: Shop, name: str, config: str, *, only_report: bool = False) -> Any:
    """Builds the shop on an instance: all of it, the input tables and the report, or the latter."""
    made = assets(shop)
    chosen = made if name == "full" else made[-1:] if only_report else made[-2:]
    return dg.materialize(
        made,
        selection=dg.AssetSelection.assets(*chosen),
        partition_key=name,
        resources=instance_resources(name, config=config),
    )


def checks(result: Any) -> dict[str, Any]:
    """Gives the results of the asset checks by name."""
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def metadata(result: Any) -> dict[str, Any]:
    """Gives the metadata of the report."""
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == REPORT]
    return {name: item.value for name, item in event.materialization.metadata.items()}


def built_midi(begin_with: BeginWith, path: Path, shop: Shop, **settings: Any) -> tuple[str, Any]:
    """Builds `full` and `midi`; gives the configuration, and the result of the latter.

    The shop is a new one: what is built of it is copied, but for a `midi` of other settings.
    """
    config = configured(path, midi={**MIDI, **settings})
    if settings:
        begin_with((__name__, "full"), lambda: build(shop, "full", config))
        return config, build(shop, "midi", config)
    return config, begin_with((__name__, "midi"), lambda: _both(shop, config))


def _both(shop: Shop, config: str) -> Any:
    build(shop, "full", config)
    return build(shop, "midi", config)


def in_force(monkeypatch: pytest.MonkeyPatch, config: str, shop: Shop) -> None:
    """Lets commands find the configuration and the shop's assets."""
    from data_pipeline import definitions

    monkeypatch.setenv("DATA_PIPELINE_CONFIG", config)
    found = dg.Definitions(assets(shop), resources=instance_resources(config=config))
    monkeypatch.setattr(definitions, "defs", found)
