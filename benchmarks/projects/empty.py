"""A project with one job that does nothing."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def empty() -> None:
    """Does nothing."""
    nothing()


defs = dg.Definitions(jobs=[empty])
