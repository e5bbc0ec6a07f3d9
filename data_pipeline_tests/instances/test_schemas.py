"""No two instances or stages can reach the same schema, and each name fits."""

import re

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Configuration
from data_pipeline_tests.instances.conftest import Load


def test_names_of_schemas(load: Load) -> None:
    full = load("instances: {full: }").instance("full")
    assert full.schema("raw") == "full_raw"
    assert full.staging_schema("raw") == "full_raw__staging"
    assert full.catalog_schema == "full_catalog"
    assert full.sample_schema == "full_sample"


def test_a_longer_prefix_is_for_stages_alone(load: Load) -> None:
    text = 'instances: {full: {table_store: {schema_prefix: "{instance_id}_x_"}}}'
    full = load(text).instance("full")
    assert full.schema("raw") == "full_x_raw"
    assert full.catalog_schema == "full_catalog"


def refused(configuration: Configuration, stages: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        configuration.check_stages(stages)
    assert str(caught.value).startswith(str(configuration.file))


def test_stages_that_do_not_meet_pass(load: Load) -> None:
    configuration = load("instances: {full: , midi: , full_fresh: }")
    configuration.check_stages(["raw", "stage_1", "raw", "stage_2", "Übersicht"])


def test_stages_may_come_from_a_generator(load: Load) -> None:
    configuration = load("instances: {full_fresh: , full: }")
    with pytest.raises(ConfigurationError, match="would both use the schema 'full_fresh_raw'"):
        configuration.check_stages(stage for stage in ("raw", "fresh_raw"))


def test_two_instances_meet_in_one_schema(load: Load) -> None:
    refused(
        load("instances: {full: , full_fresh: }"),
        ["raw", "fresh_raw"],
        "stage 'fresh_raw' of instance 'full' (id 'full') and stage 'raw' of instance "
        "'full_fresh' (id 'full_fresh') would both use the schema 'full_fresh_raw'. "
        "Rename a stage or change an instance_id.",
    )


def test_a_catalog_and_a_stage_of_two_instances_meet(load: Load) -> None:
    refused(
        load("instances: {full_fresh: , full: }"),
        ["fresh_catalog"],
        "would both use the schema 'full_fresh_catalog'",
    )


@pytest.mark.parametrize("stage", ["catalog", "sample__work", "Sample", "Catalog"])
def test_a_stage_has_a_reserved_name(load: Load, stage: str) -> None:
    message = f"stage '{stage}' of instance 'full' (id 'full') would both use the schema"
    refused(load("instances: {full: }"), [stage], message)


def test_the_stage_with_the_weights_of_samples_has_the_schema_of_sampling(load: Load) -> None:
    load("instances: {full: }").check_stages(["sample"])


def test_a_stage_is_the_staging_of_another(load: Load) -> None:
    message = "would both use the schema 'full_raw__staging'"
    refused(load("instances: {full: }"), ["raw", "raw__staging"], message)


def test_stages_differ_only_by_case(load: Load) -> None:
    message = "stage 'raw' of instance 'full' (id 'full') and stage 'Raw' of instance"
    refused(load("instances: {full: }"), ["raw", "Raw"], message)


def test_prefixes_meet(load: Load) -> None:
    text = """
instances:
  full: {table_store: {schema_prefix: full_a_}}
  full_a:
"""
    refused(load(text), ["raw"], "would both use the schema 'full_a_raw'")


def test_two_instances_with_one_id_are_refused_at_once(load: Load) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"catalog of instance 'a' .*catalog of instance 'b' .*'x_catalog'",
    ):
        load("instances: {a: {instance_id: x}, b: {instance_id: x}}")


def test_a_per_user_instance_meets_a_shared_one(load: Load) -> None:
    configuration = load("instances: {full: }", per_user=True)
    refused(configuration, ["raw", "ann_raw"], "would both use the schema 'full_ann_raw'")
    load("instances: {full: }").check_stages(["raw", "ann_raw"])


def test_a_per_user_instance_has_the_id_of_another(load: Load) -> None:
    with pytest.raises(ConfigurationError, match="would both use the schema 'full_ann_catalog'"):
        load("instances: {full: {per_user: true}, full_ann: }")


def test_the_staging_schema_counts_and_so_do_bytes(load: Load) -> None:
    configuration = load("instances: {full: }")
    longest = "s" * (63 - len("full_") - len("__staging"))
    configuration.check_stages([longest])
    refused(
        configuration,
        [f"{longest}s"],
        f"the schema 'full_{longest}s__staging' for the staging of stage '{longest}s' of instance "
        "'full' (id 'full') has 64 bytes, and PostgreSQL allows 63. Shorten the instance_id, the "
        "schema_prefix or the stage by 1 bytes.",
    )
    refused(configuration, [longest[1:-1] + "ü" + "s"], "has 64 bytes")


def test_an_instance_id_is_too_long_for_its_catalog(load: Load) -> None:
    name = "x" * 56
    with pytest.raises(ConfigurationError, match=r"'x{56}_catalog' for the catalog .* 64 bytes"):
        load(f"instances: {{{name}: }}")
