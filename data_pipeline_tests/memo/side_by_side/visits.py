"""The pipeline of visits."""

from data_pipeline.assembly import instance_definitions
from data_pipeline_tests.memo.side_by_side.shared import asset, shared

defs = instance_definitions(
    [
        *shared,
        asset("sample/tree", blob=True),
        asset("sample/visits", "sample/tree"),
        asset("visits/report", "sample/visits", "sample/t"),
    ]
)
