"""The sampled rows: of roots by the hash of their key, of children with their root."""

import numpy as np
import numpy.typing as npt

from data_pipeline.instances.sample_settings import RootSettings
from data_pipeline.sampling.in_memory.column import Int64s, Mask
from data_pipeline.sampling.in_memory.drawing import NOT_CHOSEN, Chosen, Drawing
from data_pipeline.sampling.in_memory.references import NOTHING
from data_pipeline.sampling.in_memory.sampling_number import is_direct
from data_pipeline.sampling.rules import Cut, Role, check_key_of_root, rows_besides_hubs
from data_pipeline.sampling.sample_plan import Part, TablePlan
from data_pipeline.sampling.schema_graph import Relationship


def tables_that_come_whole(drawing: Drawing) -> set[str]:
    """Names the tables of which every row comes: small ones, and such that no root can reach."""
    if drawing.plan.is_minimal:
        return set()
    limit = drawing.plan.settings.small_table_rows
    return {
        table.name
        for table in drawing.plan.tables.values()
        if table.part is Part.WHOLE
        or (table.part is Part.REFERENCED and drawing.sources[table.name].count <= limit)
    }


def find_cut(drawing: Drawing, root: str, settings: RootSettings) -> Cut:
    """Finds which rows of a root are sampled.

    A number of rows is reached with the hubs, which come anyhow; of the others, those with the
    lowest hashes are a simple random sample without replacement.
    """
    if settings.rows is None:
        return Cut.of_rate(1.0 if settings.rate is None else settings.rate)
    graph = drawing.plan.graph
    check_key_of_root(f"{graph.stage}/{root}", graph.keys[root], settings.rows)
    numbers = drawing.own_number(root)
    hubs = 0
    if root in drawing.hubs:
        is_hub = drawing.hubs[root].rows
        hubs = int(is_hub.sum())
        numbers = numbers[~is_hub]
    if settings.rows - hubs >= len(numbers):
        return Cut(None, 1.0, 1.0)
    wanted = rows_besides_hubs(f"{graph.stage}/{root}", settings.rows, hubs)
    last = int(np.partition(numbers, wanted - 1)[wanted - 1])
    return Cut.of_rows(wanted, len(numbers), last)


def draw(drawing: Drawing) -> None:
    """Chooses the sampled rows of all tables that do not come whole."""
    for table in drawing.plan.tables.values():
        if table.name in drawing.whole:
            continue
        if not drawing.is_sampled(table.name):
            drawing.rows[table.name] = Chosen.none_of(drawing.sources[table.name].count)
            continue
        cut = drawing.cuts[table.root or table.name]
        if cut.below is None:
            drawing.whole.add(table.name)
        elif table.owner is None:
            drawing.rows[table.name] = _root(drawing, table, cut, cut.below)
        elif is_direct(drawing, table.owner) and cut.drawn is None:
            drawing.rows[table.name] = _direct(drawing, table.owner, cut, cut.below)
        else:
            drawing.rows[table.name] = _with_parents(drawing, table.owner, cut, cut.below)


def _root(drawing: Drawing, table: TablePlan, cut: Cut, below: int) -> Chosen:
    chosen = drawing.own_number(table.name) < below
    probability = np.full(len(chosen), cut.probability)
    size = np.full(len(chosen), cut.drawn or 0)
    unit = drawing.own_hash(table.name)
    if table.name in drawing.hubs:
        source = drawing.sources[table.name]
        of_hub = source.hash_of(source.key, cut.salt_of_certain(drawing.salt))
        is_hub = drawing.hubs[table.name].rows
        chosen |= is_hub
        probability[is_hub] = 1.0
        size[is_hub] = 0
        unit = np.where(is_hub, of_hub, unit)
    return _chosen(chosen, probability, unit, size)


def _direct(drawing: Drawing, item: Relationship, cut: Cut, below: int) -> Chosen:
    """Chooses children of a root by the root's key, which they have."""
    found = drawing.references(item)
    columns = drawing.reference_columns(item)
    source = drawing.sources[item.child]
    alone, certain = ~found.refers, np.zeros(source.count, np.bool_)
    hubs = drawing.hubs.get(item.parent)
    if hubs is not None:
        certain = (found.row != NOTHING) & hubs.rows[found.row]
        if item.number in hubs.thinned:
            alone |= certain & hubs.thinned[item.number][found.row]
    own, number = drawing.own_number(item.child), source.number_of(columns, drawing.salt)
    chosen = np.where(alone, own < below, certain | (number < below))
    probability = np.where(alone, cut.share, np.where(certain, 1.0, cut.probability))
    unit = source.hash_of(columns, drawing.salt)
    if certain.any():
        of_hub = source.hash_of(columns, cut.salt_of_certain(drawing.salt))
        unit = np.where(certain, of_hub, unit)
    unit = np.where(alone, drawing.own_hash(item.child), unit)
    return _chosen(chosen, probability, unit, np.zeros(source.count, np.int64))


def _with_parents(drawing: Drawing, item: Relationship, cut: Cut, below: int) -> Chosen:
    """Chooses the children of chosen parents; of a hub, and of no parent, some of them."""
    found = drawing.references(item)
    source, parents = drawing.sources[item.child], drawing.rows[item.parent]
    holds, row = found.row != NOTHING, found.row
    columns = drawing.reference_columns(item)
    # Dangling references are chosen by their value, rows that refer to nothing by their own key.
    number = np.where(
        found.refers, source.number_of(columns, drawing.salt), drawing.own_number(item.child)
    )
    salt = cut.salt_of_others(drawing.salt)
    own_unit = source.hash_of(source.key, salt)
    unit = np.where(found.refers, source.hash_of(columns, salt), own_unit)
    size = np.zeros(source.count, np.int64)
    chosen = number < below
    probability = np.full(source.count, cut.share)
    above = row[holds]
    chosen[holds] = parents.role[above] != NOT_CHOSEN
    probability[holds] = parents.probability[above]
    unit[holds] = parents.unit[above]
    size[holds] = parents.sample_size[above]
    hubs = drawing.hubs.get(item.parent)
    if hubs is not None and item.number in hubs.thinned:
        thinned = holds & hubs.thinned[item.number][row]
        chosen[thinned] = drawing.own_number(item.child)[thinned] < below
        probability[thinned] = cut.share
        unit[thinned] = own_unit[thinned]
        size[thinned] = 0
    return _chosen(chosen, probability, unit, size)


def _chosen(
    chosen: Mask, probability: npt.NDArray[np.float64], unit: Int64s, sample_size: Int64s
) -> Chosen:
    rows = Chosen.none_of(len(chosen))
    rows.role[chosen] = np.where(probability[chosen] == 1.0, int(Role.CERTAIN), int(Role.SAMPLED))
    rows.probability[chosen] = probability[chosen]
    rows.unit[chosen] = unit[chosen]
    rows.sample_size[chosen] = sample_size[chosen]
    return rows
