"""What the assets of one stage have in common."""

from typing import TypedDict

import dagster as dg

from data_pipeline import INSTANCE_PARTITIONS


class StageArguments(TypedDict):
    """Arguments of `dg.asset` that are the same for all assets of a stage."""

    key_prefix: str
    group_name: str
    partitions_def: dg.PartitionsDefinition[str]
    owners: list[str]


def in_stage(stage: str) -> StageArguments:
    """Gives the arguments that put an asset into a stage: `@dg.asset(**in_stage("raw"))`."""
    return {
        "key_prefix": stage,
        "group_name": stage,
        "partitions_def": INSTANCE_PARTITIONS,
        "owners": ["team:data"],
    }
