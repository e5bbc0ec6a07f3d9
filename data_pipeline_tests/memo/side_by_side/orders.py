"""The pipeline of orders."""

from data_pipeline.assembly import instance_definitions
from data_pipeline_tests.memo.side_by_side.shared import asset, shared

defs = instance_definitions(
    [
        *shared,
        asset("sample/model", blob=True),
        asset("sample/orders", "sample/model"),
        asset("orders/report", "sample/orders", "sample/t"),
    ]
)
