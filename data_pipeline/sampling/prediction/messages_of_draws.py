"""What a sample lacks and will cost in precision, said before any row is copied."""

import logging
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from data_pipeline.database.identifiers import few
from data_pipeline.sampling.engine import Selection
from data_pipeline.sampling.plan.hubs_and_thresholds import limit_of_hubs, predicted_design_effect
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.plan.weight_columns import fact_prefix
from data_pipeline.sampling.prediction.budget import Sized
from data_pipeline.sampling.prediction.sizes import as_lines, total


def log_selection(log: logging.Logger, selection: Selection) -> None:
    """Say what sampling children with their parents costs, and which categories are left out.

    How large a design effect is warned of, `sample.checks` says
    (`settings/limits_of_sample_checks.py`).
    """
    plan = selection.plan
    cheap: list[tuple[float, str]] = []
    for table in plan.tables.values():
        item, is_whole = table.owner, selection.rows[table.name] is None
        if item is None or plan.is_minimal or is_whole or not selection.fan_outs.get(item.number):
            continue  # a table without rows has none
        of_root = plan.tables[item.parent].part is SamplePart.ROOT
        effect, text, remedy = (_of_root if of_root else _below)(
            plan, item, selection.fan_outs[item.number]
        )
        if effect <= plan.settings.checks.design_effect.least:
            cheap.append((effect, text))
        else:
            log.warning(f"{text}. Estimates from `{item.child}` will be uncertain{remedy}")
    if cheap:
        texts = [text for _, text in sorted(cheap, reverse=True)]
        log.info(few(texts, separator="\n"))
    left_out = [
        f"`{plan.graph.stage}/{name}.{column}` ({count} or more)"
        for (name, column), count in sorted(selection.left_out.items())
    ]
    if left_out:
        log.info(
            f"The categories of {few(left_out)} were left out: they are over the limit of "
            f"{plan.cover.category_limit}"
        )


def log_changing(log: logging.Logger, stage: str, changing: Mapping[str, Sequence[str]]) -> None:
    """Say that rows stay although a condition would hold for others later.

    Args:
        log: The log of the run.
        stage: The stage of the input tables.
        changing: The conditions and masks of tables.
    """
    for name, text in sorted((name, text) for name, texts in changing.items() for text in texts):
        log.info(
            f"PostgreSQL asks more than the row for {text!r} of `{stage}/{name}`, such as the time "
            "or a setting. The sample stays as it is until it is drawn again, when its source or "
            "settings change."
        )


def log_sizes(log: logging.Logger, found: Sized) -> None:
    """Say how each table is chosen, and how large it is, before rows are copied."""
    stage, lines = found.selection.plan.graph.stage, as_lines(found.sizes)
    every = total(found.sizes).in_words
    log.info("\n".join([f"The sample of stage `{stage}` has {every}:", *lines]))
    for note in filter(None, (found.note, *parted_rows(found.selection.plan))):
        log.info(note)
    for (table, column), count in found.selection.cuts.items():
        log.info(f"`{stage}/{table}`: {count:,} references of `{column}` are cut, so NULL")


def parted_rows(plan: SamplePlan) -> list[str]:
    """Say which rows are drawn without those that they extend, such as returns without their sale.

    Each row of such a table belongs to one of another drawn table, since its primary key refers to
    that, but another way to a root is shorter.
    """
    return [
        f"`{name}` is drawn by {table.owner}, not with the rows of `{item.parent}` that its key "
        f"refers to, so these may lose theirs. `follow: {{{name}: {item.parent}}}` keeps them."
        for name, table in plan.tables.items()
        for item in plan.graph.of_child(name)
        if table.owner not in (None, item) and not plan.is_minimal and name not in plan.ways
        if item.refers_to_key and set(item.columns) == set(plan.graph.keys[name])
        if plan.tables[item.parent].root is not None
    ]


def log_names_of_weights(log: logging.Logger, tables: Mapping[str, sa.Table]) -> None:
    """Say where roles and weights are called otherwise, since a table has columns of their names.

    Args:
        log: The log of the run.
        tables: The sources of the tables that get weights.
    """
    names = {name: fact_prefix(table.c.keys()) for name, table in tables.items()}
    found = [f"`{name}` (`{prefix}weight`)" for name, prefix in sorted(names.items()) if prefix]
    if found:
        log.info(f"Roles and weights have longer names beside columns of theirs: {few(found)}")


def _of_root(
    plan: SamplePlan, item: Relationship, parents: Mapping[int, int]
) -> tuple[float, str, str]:
    """Return the design effect of sampling children with a root, in words, and what helps."""
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
    remedy = (
        f". Set sample.hubs to a number of children below {limit or max(parents):,}, or make "
        f"`{item.child}` a root in sample.roots."
    )
    return effect, text, remedy


def _below(
    plan: SamplePlan, item: Relationship, parents: Mapping[int, int]
) -> tuple[float, str, str]:
    """Return the same of tables further down, where there are no hubs."""
    effect = predicted_design_effect("off", parents)
    text = (
        f"`{plan.graph.stage}/{item.parent}`: the predicted design effect of sampling "
        f"`{item.child}` with it is {effect:.1f}, or more by what is above"
    )
    remedy = (
        f": only roots have hubs, up to {max(parents):,} rows come with one here. Make "
        f"`{item.parent}` or `{item.child}` a root in sample.roots."
    )
    return effect, text, remedy
