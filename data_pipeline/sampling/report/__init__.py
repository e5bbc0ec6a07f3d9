"""The report of a sample: how it compares with its source.

`sampled_inputs_with_report` gives the input tables of a stage and their report as assets. It is
computed inside the database; only small aggregates come to the client.
"""

from data_pipeline.sampling.report.asset import (
    report_table,
    sample_report,
    sampled_inputs_with_report,
)

__all__ = ["report_table", "sample_report", "sampled_inputs_with_report"]
