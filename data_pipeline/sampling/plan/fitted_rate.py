"""The rate of roots whose size follows from that of the whole sample."""

from dataclasses import replace

from data_pipeline.instances.settings.sample import RootSettings
from data_pipeline.sampling.plan.rules import listed
from data_pipeline.sampling.plan.sample_plan import SamplePlan


def with_rate(plan: SamplePlan, rate: float) -> SamplePlan:
    """Return a plan in which roots without a size of their own have a rate."""
    roots = {
        name: RootSettings(rate=rate) if root.rate is None and root.rows is None else root
        for name, root in plan.roots.items()
    }
    return replace(plan, roots=roots)


def rate_note(plan: SamplePlan, rate: float) -> str:
    """Say which rate was chosen for a size."""
    chosen = [n for n, root in plan.roots.items() if root.rate is None and root.rows is None]
    return f"sample.size {plan.settings.size}: the rate of {listed(chosen)} is {rate:.6g}"
