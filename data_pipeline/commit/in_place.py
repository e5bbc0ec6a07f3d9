"""What a commit replaces in place: tables by their rows, and views by their queries.

That is asked for (`replace="rows"`), or is the only way: something hangs on a table that this role
can neither drop nor put up again. Increments go into their tables, which stay, in any case.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from data_pipeline.commit.increment_merge import increment_of
from data_pipeline.commit.row_replacement import RowsInPlace
from data_pipeline.commit.user_objects.object_definitions import (
    path_of_role,
    read_relations,
)
from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import Blocker, Graph, read_dependents
from data_pipeline.database.identifiers import RelationName, literal
from data_pipeline.database.relations import read_shapes
from data_pipeline.database.sql_text import renamed
from data_pipeline.errors import CannotCarryError
from data_pipeline.instances import Instance
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import State
from data_pipeline.store.table_properties import Properties

_DEFINITION = "SELECT pg_get_viewdef({relation}::regclass)"
_DOES_NOT_FIT = "42P16"  # invalid_table_definition: a view cannot lose or change columns


@dataclass(frozen=True)
class InPlace:
    """What a commit replaces in place.

    Attributes:
        tables: Tables, each with what it takes to replace its rows.
        views: Views, each with the staged one.
        blocked: What keeps them from being replaced as a whole.
        graph: What depends on all that the commit replaces.
    """

    tables: Mapping[RelationName, RowsInPlace] = field(default_factory=dict)
    views: Mapping[RelationName, RelationName] = field(default_factory=dict)
    blocked: Mapping[RelationName, Sequence[Blocker]] = field(default_factory=dict)
    graph: Graph = field(default_factory=lambda: Graph({}, ()))

    @property
    def names(self) -> set[RelationName]:
        """All that stays where it is."""
        return {*self.tables, *self.views}

    def refuse_to_drop(self, name: RelationName) -> None:
        """Refuse to drop a relation that leaves its stage, on which something hangs.

        Raises:
            CannotCarryError: Always.
        """
        blocker = self.graph.blocked[name][0]
        raise CannotCarryError(
            blocker.subject,
            None,
            f"{blocker.reason}, so that {name}, which leaves its stage, cannot be dropped.",
            "Have it dropped, then run again.",
        )

    def replace_rows(
        self, connection: sa.Connection, log: logging.Logger
    ) -> dict[RelationName, State]:
        """Replace the rows of the tables, and drop the staged ones.

        Staged views that read them read the tables from now on.

        Returns:
            What identifies the tables now.
        """
        states = {}
        for name, item in self.tables.items():
            done = item.replace(connection)
            states[name] = done.state
            blockers = self.blocked.get(name, ())
            why = f", since {_listed(blockers)} on it" if blockers else ""
            what = f"replaced in place{why}"
            if item.is_increment:
                what = "changed by an increment (earlier ones are not kept)"
            log.info(f"Rows of {name} {what}: {done}")
            _redirect(connection, item.shown, name)
            item.clear(connection)
        return states

    def replace_views(self, connection: sa.Connection) -> None:
        """Give the views their new queries, when all that these read is in its place.

        Raises:
            CannotCarryError: The columns do not fit what is built on the view.
        """
        for name, staged in self.views.items():
            query = run(connection, _DEFINITION.format(relation=literal(staged.quoted))).scalar()
            try:
                with connection.begin_nested():
                    run(connection, f"CREATE OR REPLACE VIEW {name.quoted} AS {query}")
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "pgcode", None) != _DOES_NOT_FIT:
                    raise
                shapes = read_shapes(connection, [name, staged])
                column, reason = shapes[name].misfit_of_view(shapes[staged])
                raise _refusal(self.blocked[name][0], name, column, reason) from None
            _redirect(connection, staged, name)
            run(connection, f"DROP VIEW {staged.quoted}")

    def fill_materialized_views(
        self, connection: sa.Connection, log: logging.Logger, done: Iterable[int]
    ) -> None:
        """Fill the materialized views built on the tables, as a commit does with all of them.

        Args:
            connection: The transaction of the commit.
            log: Says which show the earlier rows until their owner fills them.
            done: Oids of those that were put up, and filled, anew.
        """
        oids = [oid for oid in self.graph.materialized_views(self.tables) if oid not in set(done)]
        found = read_relations(connection, oids)
        foreign = {blocker.node.oid for blocker in self.graph.blockers}
        for view in (found[oid] for oid in oids if oid in found):
            if view.oid not in foreign:
                with path_of_role(connection):
                    for statement in view.fill:
                        run(connection, statement)
            elif view.is_populated:
                log.warning(
                    f"Materialized view {view.name} of role {view.owner} shows the earlier rows "
                    f"until that role fills it: REFRESH MATERIALIZED VIEW {view.name.quoted}"
                )


def choose(
    connection: sa.Connection,
    instance: Instance,
    rows: Mapping[RelationName, CatalogRow],
    sources: Mapping[RelationName, RelationName],
    earlier: Mapping[RelationName, CatalogRow],
    graph: Graph,
    log: logging.Logger,
) -> InPlace:
    """Return what a commit is to replace in place.

    Args:
        connection: The transaction of the commit.
        instance: The instance.
        rows: What the catalog will say of each relation that is replaced.
        sources: The staged relations that are to take their places, where there are any.
        earlier: What the catalog says of them now.
        graph: What depends on them.
        log: Says why a table is not replaced in place that was meant to be.

    Raises:
        CannotCarryError: It is the only way for one of them, and its columns have changed.
    """
    there = set(graph.roots.values()) & sources.keys()
    blocked = {name: graph.blocked[name] for name in graph.blocked if name in there}
    grows = {name for name in there if rows[name].is_increment}
    blocked = {name: found for name, found in blocked.items() if name not in grows}
    asked = {name for name in there if _is_asked_for(instance, rows[name])} | grows
    if not blocked and not asked:
        return InPlace(graph=graph)
    wanted = sorted({*blocked, *asked}, key=str)
    shapes = read_shapes(connection, [*wanted, *(sources[name] for name in wanted)])
    tables: dict[RelationName, RowsInPlace] = {}
    views = {}
    for name in wanted:
        old, new = shapes.get(name), shapes.get(sources[name])
        if old is None or new is None:
            continue  # somebody has dropped it, which the commit finds out by itself
        if name in grows:
            if name in earlier:
                tables[name] = increment_of(instance, rows[name], earlier[name], (old, new))
            continue
        if name in blocked and (old.kind, new.kind) == ("v", "v"):
            views[name] = sources[name]
        elif misfit := old.misfit(new):
            if name in blocked:
                raise _refusal(blocked[name][0], name, *misfit)
            log.info(f"{name} is replaced as a whole, not by its rows: {misfit[1]}")
        else:
            known = earlier.get(name)
            tables[name] = RowsInPlace(
                name,
                sources[name],
                old,
                new,
                rows[name].declared.indexes,
                known.declared if known else Properties(),
            )
    return InPlace(tables, views, blocked, graph)


def _is_asked_for(instance: Instance, row: CatalogRow) -> bool:
    replace = row.declared.replace or instance.table_store.replace
    return row.kind == "table" and replace == "rows"


def _redirect(connection: sa.Connection, staged: RelationName, name: RelationName) -> None:
    """Make staged views read what is in place instead of a staged relation."""
    graph = read_dependents(connection, [staged])
    views = {e.node.oid for e in graph.edges if e.kind == "v" and e.of in graph.roots}
    for view in read_relations(connection, sorted(views)).values():
        body = renamed(view.definition or "", {staged: name})
        run(connection, f"CREATE OR REPLACE VIEW {view.name.quoted} AS {body}")


def _listed(blockers: Sequence[Blocker]) -> str:
    return " and ".join(f"{blocker.subject} ({blocker.reason}) hangs" for blocker in blockers[:3])


def _refusal(
    blocker: Blocker, relation: RelationName, column: str | None, reason: str | None
) -> CannotCarryError:
    return CannotCarryError(
        blocker.subject,
        column,
        f"{blocker.reason}, so that {relation} cannot be replaced as a whole; and it cannot change "
        f"in place: {reason}.",
        "Have it dropped or adapted, then run again.",
    )
