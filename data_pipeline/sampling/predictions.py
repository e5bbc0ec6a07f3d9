"""What a sample lacks and will cost in precision, said before any row is copied."""

import logging
from collections.abc import Mapping, Set

from data_pipeline.sampling.engine import Selection
from data_pipeline.sampling.plan.rules import limit_of_hubs, predicted_design_effect
from data_pipeline.sampling.plan.sample_plan import SamplePart, SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship

_LARGE = 25.0
"""Above this design effect, 25 rows of a sample tell less than one that is drawn by itself."""

FanOuts = Mapping[int, Mapping[int, int]]
"""By the number of a relationship, how many values are referred to by the number of references."""


def log_selection(log: logging.Logger, selection: Selection) -> None:
    """Say what sampling children with their parents costs, and which categories are left out."""
    plan = selection.plan
    whole = {name for name, rows in selection.rows.items() if rows is None}
    log_predictions(log, plan, selection.fan_outs, whole)
    for (table, column), count in sorted(selection.left_out.items()):
        log.info(
            f"`{plan.graph.stage}/{table}`: the categories of `{column}` were left out, since "
            f"there are {count} or more, over the limit of {plan.cover.category_limit}"
        )


def log_predictions(
    log: logging.Logger, plan: SamplePlan, fan_outs: FanOuts, whole: Set[str]
) -> None:
    """Say what sampling children with their parents costs, as far as they were counted.

    Args:
        log: The log of the run.
        plan: What the rows are chosen by.
        fan_outs: What was counted.
        whole: The tables that come whole, at no cost.
    """
    for table in plan.tables.values():
        item = table.owner
        if item is None or item.number not in fan_outs or plan.is_minimal or table.name in whole:
            continue
        if plan.tables[item.parent].part is SamplePart.ROOT:
            _log_of_root(log, plan, item, fan_outs[item.number])
        else:
            _log_below(log, plan, item, fan_outs[item.number])


def _log_of_root(
    log: logging.Logger, plan: SamplePlan, item: Relationship, parents: Mapping[int, int]
) -> None:
    setting = plan.settings.hubs
    limit = limit_of_hubs(setting, parents)
    hubs = sum(count for n, count in parents.items() if limit is not None and n > limit)
    effect = predicted_design_effect(setting, parents)
    why = "no hubs"
    if limit is not None:
        without = predicted_design_effect("off", parents)
        why = f"hubs: {hubs:,}, with more than {limit:,} each; {without:.1f} if there were none"
    text = (
        f"Root `{plan.graph.stage}/{item.parent}`: the predicted design effect of sampling "
        f"`{item.child}` with it is {effect:.1f} ({why})"
    )
    if effect <= _LARGE:
        log.info(text)
        return
    log.warning(
        f"{text}. Estimates from `{item.child}` will be uncertain. Set sample.hubs to a number of "
        f"children below {limit or max(parents):,}, or make `{item.child}` a root in sample.roots."
    )


def _log_below(
    log: logging.Logger, plan: SamplePlan, item: Relationship, parents: Mapping[int, int]
) -> None:
    """Say it of tables further down, where there are no hubs."""
    effect = predicted_design_effect("off", parents)
    text = (
        f"`{plan.graph.stage}/{item.parent}`: the predicted design effect of sampling "
        f"`{item.child}` with it is {effect:.1f}, or more by what is above"
    )
    if effect <= _LARGE:
        log.info(text)
        return
    log.warning(
        f"{text}. Estimates from `{item.child}` will be uncertain: only roots have hubs, up to "
        f"{max(parents):,} rows come with one here. Make `{item.parent}` or `{item.child}` a root "
        "in sample.roots."
    )
