"""The project's assets in all of its instances; the steps of a run share its process."""

from data_pipeline.assembly import instance_definitions
from data_pipeline_tests.proofs.project import rally, raw, shop

assets = [
    raw.customers,
    raw.orders,
    raw.inputs,
    shop.totals,
    shop.large,
    shop.ranks_and_summary,
    shop.model,
    shop.journal,
    rally.serve,
    rally.backhand,
    rally.forehand,
    rally.score,
]

defs = instance_definitions(assets)
