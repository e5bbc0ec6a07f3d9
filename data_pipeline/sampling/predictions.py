"""What a sample will cost in precision, said before any row is copied."""

import logging
from collections.abc import Mapping

from data_pipeline.sampling.rules import limit_of_hubs, predicted_design_effect
from data_pipeline.sampling.sample_plan import Part, SamplePlan


def log_predictions(
    log: logging.Logger, plan: SamplePlan, fan_outs: Mapping[int, Mapping[int, int]]
) -> None:
    """Says for each root what sampling children with it costs, as far as they were counted.

    Args:
        log: The log of the run.
        plan: What the rows are chosen by.
        fan_outs: By the number of a relationship, how many values are referred to by the number of
            references.
    """
    for table in plan.tables.values():
        item, setting = table.owner, plan.settings.hubs
        if item is None or item.number not in fan_outs or plan.is_minimal:
            continue
        if plan.tables[item.parent].part is not Part.ROOT:
            continue
        parents = fan_outs[item.number]
        limit = limit_of_hubs(setting, parents)
        hubs = sum(count for n, count in parents.items() if limit is not None and n > limit)
        effect = predicted_design_effect(setting, parents)
        why = "no hubs"
        if limit is not None:
            without = predicted_design_effect("off", parents)
            why = f"hubs: {hubs:,}, with more than {limit:,} each; {without:.1f} if there were none"
        log.info(
            f"Root `{plan.graph.stage}/{item.parent}`: the predicted design effect of sampling "
            f"`{table.name}` with it is {effect:.1f} ({why})"
        )
