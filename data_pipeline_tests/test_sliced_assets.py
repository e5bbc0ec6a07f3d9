"""Assets with slices: the jobs that they have, and what is refused when definitions load."""

from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    Stage,
    Table,
    copy_filtered_inputs,
    instance_definitions,
    table_properties,
)
from data_pipeline.errors import ConfigurationError

DAILY = dg.DailyPartitionsDefinition("2026-01-01")


def by(**dimensions: Any) -> dg.MultiPartitionsDefinition:
    return dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, **dimensions})


DAYS = by(day=DAILY)


def asset(name: str = "t", **options: Any) -> dg.AssetsDefinition:
    @dg.asset(key=["s", name], **{"partitions_def": DAYS, **options})
    def made() -> sa.TextClause:
        return sa.text("SELECT DATE '2026-01-01' AS day")

    return made


def reader(key: str = "t", **options: Any) -> dg.AssetsDefinition:
    mapping = options.pop("mapping", None)
    ins = {"t": dg.AssetIn(["s", key], partition_mapping=mapping)}

    @dg.asset(key=["s", "r"], ins=ins, **{"partitions_def": DAYS, **options})
    def read(t: sa.Table) -> sa.TextClause:
        return sa.text("SELECT DATE '2026-01-01' AS day")

    return read


def test_jobs_of_instances_leave_slices_out_and_these_have_jobs_of_their_own() -> None:
    whole = asset("w", partitions_def=INSTANCE_PARTITIONS)
    later = asset("l", partitions_def=by(day=dg.DailyPartitionsDefinition("2026-02-01")))
    zones = asset("z", partitions_def=by(zone=dg.DynamicPartitionsDefinition(name="zones")))
    definitions = instance_definitions([whole, asset(), later, zones])
    assets = {
        name: {
            key.path[1]
            for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
        }
        for name in ("full", "mini", "pipeline", "by_day", "by_day_2", "by_zone")
    }
    assert assets == {
        "full": {"w"},
        "mini": {"w"},
        "pipeline": {"w"},
        "by_day": {"t"},
        "by_day_2": {"l"},
        "by_zone": {"z"},
    }


def test_slices_behind_a_copy_of_slices_have_a_job_that_comes_later() -> None:
    raw = asset()
    copy = copy_filtered_inputs(stage="inputs", raw=[raw])
    behind = Stage("behind", reads="inputs")

    @behind.table(partitions_def=DAYS)
    def clean(t: sa.Table) -> sa.Select[Any]:
        return sa.select(t)

    @behind.table(partitions_def=DAYS)
    def last(clean: sa.Table) -> sa.Select[Any]:
        return sa.select(clean)

    definitions = instance_definitions([last, clean, copy, raw])
    layers = {n: definitions.resolve_job_def(n).asset_layer for n in ("by_day", "by_day_2")}
    keys = {n: {key.path[1] for key in item.executable_asset_keys} for n, item in layers.items()}
    assert keys == {"by_day": {"t"}, "by_day_2": {"clean", "last"}}


def test_assets_that_read_each_other_are_named() -> None:
    a = asset("a", partitions_def=INSTANCE_PARTITIONS, deps=[["s", "b"]])
    b = asset("b", partitions_def=INSTANCE_PARTITIONS, deps=[["s", "a"]])
    with pytest.raises(ValueError, match=r"Circular dependencies exist among .*'b'"):
        instance_definitions([a, b]).resolve_all_job_defs()


def test_without_whole_tables_there_are_jobs_of_slices_alone() -> None:
    definitions = instance_definitions([asset()])
    assert definitions.resolve_job_def("by_day")


@pytest.mark.parametrize(
    ("assets", "message"),
    [
        (
            [
                asset(
                    partitions_def=dg.MultiPartitionsDefinition(
                        {"i": INSTANCE_PARTITIONS, "day": DAILY}
                    )
                )
            ],
            "under this name",
        ),
        (
            [asset(partitions_def=by(day=dg.StaticPartitionsDefinition(["full", "x"])))],
            "has the name of an instance",
        ),
        ([asset("t" * 54)], "longer than PostgreSQL's"),
        (
            [asset(metadata=table_properties(primary_key="k"))],
            "which its primary key \\(k\\) lacks",
        ),
        ([asset(metadata=table_properties(write="append"))], "has slices and returns increments"),
        ([asset(output_required=False)], "is optional"),
        ([asset(io_manager_key="files")], "keeps no table in the database"),
        ([asset(backfill_policy=dg.BackfillPolicy.multi_run(1))], "leave out `backfill_policy`"),
        (
            [
                asset(
                    partitions_def=INSTANCE_PARTITIONS,
                    backfill_policy=dg.BackfillPolicy.single_run(),
                )
            ],
            "leave out `backfill_policy`",
        ),
        (
            [asset(), reader(partitions_def=by(day=dg.WeeklyPartitionsDefinition("2026-01-04")))],
            "by different partitions",
        ),
        (
            [asset(), reader(partitions_def=INSTANCE_PARTITIONS, mapping=dg.AllPartitionMapping())],
            "by AllPartitionMapping",
        ),
        (
            [
                asset(),
                reader(
                    mapping=dg.MultiPartitionMapping(
                        {
                            "instance": dg.DimensionPartitionMapping(
                                "instance", dg.IdentityPartitionMapping()
                            ),
                            "day": dg.DimensionPartitionMapping(
                                "day", dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
                            ),
                        }
                    )
                ),
            ],
            "by MultiPartitionMapping",
        ),
    ],
)
def test_what_cannot_be_built_slice_by_slice_is_refused_by_name(
    assets: list[Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"`s/.*{message}"):
        instance_definitions(assets, resources={"files": dg.FilesystemIOManager()})


def test_views_and_several_tables_are_refused() -> None:
    stage = Stage("s")

    @stage.view(partitions_def=DAYS)
    def v() -> sa.TextClause:
        return sa.text("SELECT 1")

    @stage.table(partitions_def=DAYS)
    def several() -> dict[str, Table]:
        return {}

    with pytest.raises(ConfigurationError, match="`s/v` has slices, and is a view"):
        instance_definitions([v])
    with pytest.raises(ConfigurationError, match="several tables by names of their own"):
        instance_definitions([several])


def test_raw_tables_with_slices_can_be_copied() -> None:
    copy = copy_filtered_inputs(stage="inputs", raw=[asset()])
    assert copy.partitions_def == INSTANCE_PARTITIONS
    definitions = instance_definitions([asset(), copy])
    assert definitions.resolve_job_def("mini")
