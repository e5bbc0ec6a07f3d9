"""Instances as Dagster partitions."""

import dagster as dg
import pytest

from data_pipeline.instances.partitions import (
    INSTANCE_PARTITIONS,
    RAW_TO_SAMPLED,
    instance_partitions,
    raw_partition_mapping,
)
from data_pipeline_tests.instances.conftest import Load

COPY = "copy_filtered_input: true, copy_source"


def sources(
    partitions: dg.StaticPartitionsDefinition, mapping: dg.StaticPartitionMapping, key: str
) -> set[str]:
    """Partitions of the raw table that the sampled table's partition depends on."""

    @dg.asset(partitions_def=partitions)
    def raw() -> None: ...

    @dg.asset(partitions_def=partitions, deps=[dg.AssetDep(raw, partition_mapping=mapping)])
    def sampled(context: dg.AssetExecutionContext) -> None:
        seen.update(context.asset_partition_keys_for_input("raw"))

    seen: set[str] = set()
    dg.materialize([raw, sampled], partition_key=key, selection=[sampled])
    return seen


def test_the_shipped_instances_are_all_fed_by_full() -> None:
    assert INSTANCE_PARTITIONS.get_partition_keys() == ["full", "midi", "mini"]
    for key in ("full", "midi", "mini"):
        assert sources(INSTANCE_PARTITIONS, RAW_TO_SAMPLED, key) == {"full"}


@pytest.mark.parametrize(("key", "root"), [("a", "a"), ("b", "b"), ("c", "a"), ("d", "a")])
def test_a_chain_of_copies_is_fed_by_the_instance_that_loads(
    load: Load, key: str, root: str
) -> None:
    configuration = load(
        f"instances: {{a: , b: , c: {{attrs: {{{COPY}: a}}}}, d: {{attrs: {{{COPY}: c}}}}}}"
    )
    partitions = instance_partitions(configuration)
    assert partitions.get_partition_keys() == ["a", "b", "c", "d"]
    assert sources(partitions, raw_partition_mapping(configuration), key) == {root}


def test_partition_keys_stay_the_same_for_per_user_instances(load: Load) -> None:
    configuration = load(f"instances: {{full: , mini: {{attrs: {{{COPY}: full}}}}}}", per_user=True)
    partitions = instance_partitions(configuration)
    assert partitions.get_partition_keys() == ["full", "mini"]
    assert sources(partitions, raw_partition_mapping(configuration), "mini") == {"full"}
