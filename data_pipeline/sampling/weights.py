"""Roles, probabilities and weights of the rows of an instance, as tables of the stage `sample`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter, Instance
from data_pipeline.instances.instance import SAMPLE_STAGE
from data_pipeline.sampling.engine.outputs import drawn_unit
from data_pipeline.sampling.engine.source_tables import TID, SourceTable
from data_pipeline.sampling.key_hash import check_hashable, key_hash_sql
from data_pipeline.sampling.plan.hubs_and_thresholds import Role, listed
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.weight_columns import WEIGHT_COLUMNS, fact_prefix
from data_pipeline.store.lookup import committed
from data_pipeline.store.table_properties import KEY_DECLARATION, Properties, Table, View

ROW_HASH = "row_hash"
"""The key of rows in `keys_of` whose table has no primary key: the hash of all columns."""

SALT = 0
"""Added to the hash that tells rows without a primary key."""

_FACTS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("role", sa.Text()),
    ("probability", sa.Double()),
    ("unit", sa.BigInteger()),
    ("design", sa.Text()),
    ("sample_size", sa.BigInteger()),
    ("reason", sa.Text()),
)

FACTS = tuple(name for name, _ in _FACTS)
"""The columns of `keys_of` tables that stand beside the key."""

Inputs = Mapping[str, str | None]


def roles_table(table: StageTable) -> StageTable:
    """Name the table with the roles of an input table's rows."""
    return StageTable(SAMPLE_STAGE, f"{table.stage}__{table.name}")


def weighted_table(table: StageTable) -> StageTable:
    """Name the table that joins an input table with its weights."""
    return StageTable(SAMPLE_STAGE, f"{table.stage}__{table.name}_weighted")


def roles_of_chosen(
    table: StageTable,
    source: sa.Table,
    places: sa.TableClause | None,
    version: str,
    inputs: Inputs,
    copied: sa.FromClause | None = None,
) -> Table:
    """Return the keys of the chosen rows of a table with role, probability, design and reason.

    Args:
        table: The input table.
        source: The source of the table.
        places: The working table of the chosen rows; None for a table that comes whole.
        version: Identity of what the rows were chosen by.
        inputs: Data versions of the sources.
        copied: Its chosen rows, where they are copied with other values.

    Raises:
        ConfigurationError: Its rows cannot be told by a hash, and it has no key.
    """
    check_key(table, source)
    if copied is not None:
        check_told_by_key(table, source)
    if places is None:
        rows: sa.FromClause = source if copied is None else copied
        return _roles_of_all(rows, Role.CERTAIN, 1.0, version, inputs, source)
    rows = SourceTable("", source, (), {}).rows_at(places, "source") if copied is None else copied
    key = key_columns(source, rows)
    facts = facts_of_chosen(places, fact_prefix(column.name for column in key))
    query = sa.select(*key, *facts).join(places, places.c[TID] == rows.c[TID])
    return _keyed(query, key, version, inputs)


def roles_of_written(
    instance: Instance,
    table: StageTable,
    plan: SamplePlan,
    source: sa.Table,
    work: tuple[RelationName, RelationName],
    version: str,
    inputs: Inputs,
) -> Table:
    """Return the same of a table whose copy was written while its rows were chosen.

    Args:
        instance: The instance.
        table: The input table.
        plan: What its rows were chosen by.
        source: Its source.
        work: The working tables with the roles of few rows, and with that of all others.
        version: Identity of what the rows were chosen by.
        inputs: Data versions of the sources.
    """
    parts = _WrittenRows.of(
        RelationName(*_relation(instance, table)), table.name, plan, source, work
    )
    rows, others, common = parts.rows, parts.others, parts.common
    is_common = others.c.role.is_(None)
    unit = sa.null() if parts.unit is None else sa.case((is_common, parts.unit))
    role = sa.func.coalesce(others.c.role, common.c.role)
    values = [
        _word(role),
        sa.case((is_common, common.c.probability)),
        unit,
        sa.case((sa.and_(is_common, common.c.probability.is_not(None)), _design(common))),
        sa.case((is_common, common.c.sample_size)),
        sa.case((is_common, common.c.reason), else_=others.c.reason),
    ]
    joined = rows.join(common, sa.true()).outerjoin(others, parts.is_other)
    query = sa.select(*parts.key, *_facts(values, parts.key)).select_from(joined)
    return _keyed(query, parts.key, version, inputs)


def query_of_written(
    copy: RelationName,
    table: str,
    plan: SamplePlan,
    source: sa.Table,
    work: tuple[RelationName, RelationName],
) -> sa.CompoundSelect[Any]:
    """Return a query for the same rows that takes two thirds of the time.

    What most rows have in common is no column of a join, but a value.

    Args:
        copy: Where the copy is.
        table: The name of the input table.
        plan: What its rows were chosen by.
        source: Its source.
        work: The working tables, as for `roles_of_written`.
    """
    parts = _WrittenRows.of(copy, table, plan, source, work)
    others, common = parts.others, parts.common

    def once(value: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
        return sa.select(value).select_from(common).scalar_subquery()

    of_most = [
        once(_word(common.c.role)),
        once(common.c.probability),
        sa.null() if parts.unit is None else parts.unit,
        once(sa.case((common.c.probability.is_not(None), _design(common)))),
        once(common.c.sample_size),
        once(common.c.reason),
    ]
    most = sa.select(*parts.key, *_facts(of_most, parts.key)).select_from(parts.rows)
    of_few = [_word(others.c.role), sa.null(), sa.null(), sa.null(), sa.null(), others.c.reason]
    keys = [others.c[f"k{i}"].label(column.name) for i, column in enumerate(parts.key)]
    few = sa.select(*keys, *_facts(of_few, parts.key))
    return sa.union_all(most.where(~sa.exists().where(parts.is_other)), few)


@dataclass(frozen=True)
class _WrittenRows:
    """The rows of a copy that was written while they were chosen, and what is known of them.

    Attributes:
        rows: The rows.
        key: What they are told by.
        others: Keys and roles of few.
        common: The role of all others.
        is_other: Whether a row is one of the few.
        unit: The unit of all others; None where they have none.
    """

    rows: sa.Subquery
    key: Sequence[sa.Label[Any]]
    others: sa.TableClause
    common: sa.TableClause
    is_other: sa.ColumnElement[bool]
    unit: sa.ColumnElement[int] | None

    @classmethod
    def of(
        cls,
        copy: RelationName,
        table: str,
        plan: SamplePlan,
        source: sa.Table,
        work: tuple[RelationName, RelationName],
    ) -> "_WrittenRows":
        """Return those of a copy; arguments are those of `query_of_written`."""
        columns = (sa.Column(c.name, c.type) for c in source.c)
        own = sa.Table(copy.name, sa.MetaData(), *columns, schema=copy.schema)
        owner = plan.tables[table].owner
        conditions = {owner.number: owner.where} if owner and owner.where else {}
        item = SourceTable(table, own, plan.graph.keys[table], conditions)
        rows = item.all_rows("rows")
        key = key_columns(source, rows)
        names = [f"k{i}" for i, _ in enumerate(key)]
        others, common = (
            sa.table(place.name, *map(sa.column, columns), schema=place.schema)
            for place, columns in zip(
                work,
                ([*names, "role", "reason"], ["role", "probability", "sample_size", "reason"]),
                strict=True,
            )
        )
        same = [others.c[name] == column.element for name, column in zip(names, key, strict=True)]
        has_unit = plan.tables[table].part is not SamplePart.REFERENCED
        unit = drawn_unit(plan, item, rows) if has_unit else None
        return cls(rows, key, others, common, sa.and_(*same), unit)


def _word(role: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.case(*((role == int(one), one.word) for one in Role))


def _design(common: sa.TableClause) -> sa.ColumnElement[str]:
    return sa.case((common.c.sample_size.is_not(None), "srs"), else_="poisson")


def _facts(values: Sequence[Any], key: Sequence[sa.Label[Any]]) -> list[sa.Label[Any]]:
    prefix = fact_prefix(column.name for column in key)
    return [
        sa.cast(value, type_).label(f"{prefix}{fact}")
        for (fact, type_), value in zip(_FACTS, values, strict=True)
    ]


def facts_of_chosen(places: sa.TableClause, prefix: str = "") -> list[sa.ColumnElement[Any]]:
    """Return role, probability, unit, design, sample size and reason of chosen rows.

    Args:
        places: The working table of the chosen rows.
        prefix: What their names begin with.
    """
    c = places.c
    role = sa.case(*((c.role == int(role), role.word) for role in Role))
    design = sa.case((c.sample_size.is_not(None), "srs"), (c.unit.is_not(None), "poisson"))
    known = [role, c.probability, c.unit, design, c.sample_size, c.reason]
    return [_named(value, f"{prefix}{name}") for name, value in zip(FACTS, known, strict=True)]


def roles_without_selection(
    table: StageTable, source: sa.Table, keep: CopyFilter, rows: sa.Select[Any], inputs: Inputs
) -> Table:
    """Return the same for the rows that a copy filter keeps.

    All rows are certain. A rate samples each row for itself. A number of rows takes the first ones,
    which are no random sample: they have no probability, and no weight.

    Args:
        table: The input table.
        source: The source.
        keep: The filter.
        rows: The query for the rows that it keeps.
        inputs: Data versions of the source, where it is no input of the step.

    Raises:
        ConfigurationError: Its rows cannot be told by a hash, and it has no key.
    """
    check_key(table, source)
    kept = rows.subquery("kept")
    if keep.keeps_all_rows:
        return _roles_of_all(kept, Role.CERTAIN, 1.0, "", inputs, source)
    role = Role.WITNESS if keep.rate is None else Role.SAMPLED
    return _roles_of_all(kept, role, keep.rate, "", inputs, source)


def weighted_view(
    instance: Instance, table: StageTable, source: sa.Table, version: str, inputs: Inputs
) -> Table:
    """Return a view of the rows of an input table with role, probability, unit, design and weight.

    The weight is 1 / probability, and 0 for rows without a probability, which are there for other
    reasons than to stand for others.

    Args:
        instance: The instance.
        table: The input table.
        source: Its source, for its columns and key.
        version: Identity of what the rows were chosen by.
        inputs: Data versions of the sources; they tell that the view shows something else.

    Their names begin with `fact_prefix`, where the table has columns of these names.
    """
    check_key(table, source)
    prefix = fact_prefix(source.c.keys())
    of_roles = fact_prefix(_key_names(source))
    data, roles = _relation(instance, table), _relation(instance, roles_table(table))
    own = sa.table(data[1], *(sa.column(c.name, c.type) for c in source.c), schema=data[0])
    columns = _key_names(source)
    facts = [sa.column(f"{of_roles}{name}", type_) for name, type_ in _FACTS]
    other = sa.table(roles[1], *map(sa.column, columns), *facts, schema=roles[0])
    same = [other.c[k.name] == k.element for k in key_columns(source, own)]
    probability = other.c[f"{of_roles}probability"]
    weight = sa.func.coalesce(1.0 / probability, sa.literal_column("0.0", sa.Double))
    shown = [(other.c[f"{of_roles}{name}"], name) for name in WEIGHT_COLUMNS[:-1]]
    query = sa.select(
        own,
        *(_named(value, f"{prefix}{name}") for value, name in shown),
        sa.cast(weight, sa.Double).label(prefix + WEIGHT_COLUMNS[-1]),
    )
    joined = query.select_from(own.join(other, sa.and_(*same)))
    return Table.of(View(marked(joined, version)), Properties(), inputs)


def marked(query: sa.Select[Any], version: str) -> sa.Select[Any]:
    """Return a query whose text says what its working tables were made by."""
    return query.prefix_with(f"/* sample {version} */") if version else query


def _roles_of_all(
    rows: sa.FromClause,
    role: Role,
    probability: float | None,
    version: str,
    inputs: Inputs,
    source: sa.FromClause | None = None,
) -> Table:
    key = key_columns(rows if source is None else source, rows)
    facts = facts_of_all(key, role, probability, fact_prefix(column.name for column in key))
    return _keyed(sa.select(*key, *facts), key, version, inputs)


def facts_of_all(
    key: Sequence[sa.Label[Any]], role: Role, probability: float | None, prefix: str = ""
) -> list[sa.ColumnElement[Any]]:
    """Return the same facts of rows that all have one role; each is a unit of its own.

    Args:
        key: What the rows are told by, as `key_columns` gives it.
        role: The role.
        probability: The inclusion probability of each; None: they have no weight.
        prefix: What their names begin with.
    """
    unit = key_hash_sql([column.element for column in key], SALT)
    values: tuple[sa.ColumnElement[Any], ...] = (
        sa.literal(role.word),
        sa.literal(probability, sa.Double()),
        unit,
        sa.null() if probability is None else sa.literal("poisson"),
        sa.null(),
        sa.null(),
    )
    return [
        sa.cast(value, type_).label(f"{prefix}{name}")
        for (name, type_), value in zip(_FACTS, values, strict=True)
    ]


def _keyed(
    query: sa.Select[Any], key: Sequence[sa.Label[Any]], version: str, inputs: Inputs
) -> Table:
    names = tuple(column.name for column in key)
    if names == (ROW_HASH,):
        # Rows that are equal have one role: that of the strongest.
        query = query.ext(distinct_on(key[0].element)).order_by(
            key[0].element, sa.literal_column("probability DESC NULLS LAST")
        )
    return Table.of(marked(query, version), Properties(primary_key=names), inputs)


def key_columns(source: sa.FromClause, rows: sa.FromClause) -> list[sa.Label[Any]]:
    """Return what rows are told by: their primary key, or the hash of all columns.

    Args:
        source: The table, with its primary key.
        rows: Rows of it.
    """
    names = [column.name for column in source.primary_key]
    if names:
        return [sa.label(name, rows.c[name]) for name in names]
    columns = [rows.c[column.name] for column in source.columns]
    return [key_hash_sql(columns, SALT).label(ROW_HASH)]


def check_key(table: StageTable, source: sa.Table) -> None:
    """Check that the rows of a table can be told apart: by its key, or by a hash of all columns.

    Raises:
        ConfigurationError: They cannot.
    """
    key = list(source.primary_key)
    check_hashable(table, key or list(source.c), has_key=bool(key))


def check_told_by_key(table: StageTable, source: sa.Table) -> None:
    """Check that rows are told by a key, since other columns have other values in a copy.

    Raises:
        ConfigurationError: They are not.
    """
    if not source.primary_key:
        raise ConfigurationError(
            f"Table `{table}` has no primary key, so its rows are told by all columns, which "
            "sample.cut and sample.mask change in a copy: they cannot have weights then. Declare "
            f"a key, {KEY_DECLARATION}, or leave the table out of cut and mask."
        )


def _named(value: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[Any]:
    """Return a value under a name; the text of a query shows no name that is its own anyhow."""
    return value if getattr(value, "name", None) == name else value.label(name)


def _key_names(source: sa.Table) -> list[str]:
    return [column.name for column in source.primary_key] or [ROW_HASH]


def _relation(instance: Instance, table: StageTable) -> tuple[str, str]:
    name = committed(instance, table)
    return name.schema, name.name


def with_declared_key(source: sa.Table, table: StageTable, declared: Properties) -> sa.Table:
    """Return a table its declared key where the database knows none, as that of a view.

    Args:
        source: The table; it is changed.
        table: Its stage and name, for messages.
        declared: What its asset declares.

    Raises:
        ConfigurationError: A column of the key does not exist.
    """
    if source.primary_key.columns or not declared.primary_key:
        return source
    columns = source.c.keys()
    if missing := [name for name in declared.primary_key if name not in columns]:
        raise ConfigurationError(
            f"Table `{table}`: its primary key names the column `{missing[0]}`, which it does not "
            f"have. Its columns are {listed(columns)}. Correct table_properties(primary_key=...)."
        )
    keys = [source.c[name] for name in declared.primary_key]
    source.append_constraint(sa.PrimaryKeyConstraint(*keys))
    return source
