"""Relations and functions as they stand: what it takes to create them again."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.commit.user_objects.kinds import CONDITIONS
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import CannotCarryError


def oid_array(oids: Iterable[int]) -> str:
    """Return an array of them."""
    return f"'{{{','.join(map(str, sorted(oids)))}}}'::oid[]"


BY_PATH_OF_ROLE = """
SET LOCAL search_path = DEFAULT;
SELECT set_config(
    'search_path', concat_ws(', ', 'pg_catalog', nullif(current_setting('search_path'), '')), true)
"""
"""Lets functions of users that statements call find what they name without a schema.

All else in the statements is qualified, but for what is in pg_catalog.
"""
BY_NO_PATH = "SET LOCAL search_path = ''"
"""Ends that."""


@contextmanager
def path_of_role(connection: sa.Connection) -> Iterator[None]:
    """Execute the statements of a block by the path of the role, see `BY_PATH_OF_ROLE`."""
    run(connection, BY_PATH_OF_ROLE)
    yield
    run(connection, BY_NO_PATH)


_RELATIONS = stored_query(__file__, "object_definitions_relations")

_ROUTINES = stored_query(__file__, "object_definitions_routines")


@dataclass(frozen=True)
class Relation:
    """A table, view or materialized view.

    Attributes:
        oid: Its oid.
        name: Its name.
        kind: TABLE, VIEW or MATERIALIZED VIEW.
        relkind: The same, as in pg_class.
        owner: The role that owns it.
        is_populated: False for a materialized view that was never filled.
        method: The access method of its storage.
        definition: The query of a view.
        is_positional: Whether that names columns by their places.
        columns: Its columns in the order of their numbers, None for those that were dropped.
        types: Oids and modifiers of their types.
        has: In which files of kinds there is something about it.
    """

    oid: int
    name: RelationName
    kind: str
    relkind: str
    owner: str
    is_populated: bool
    method: str | None
    definition: str | None
    is_positional: bool
    columns: tuple[str | None, ...]
    types: tuple[str, ...]
    has: frozenset[str]

    @property
    def subject(self) -> str:
        """What it is called in a message."""
        return f"{self.kind.lower()} {self.name}"

    @property
    def drop(self) -> tuple[str, str]:
        """What kind of object to drop, under what name."""
        return self.kind, self.name.quoted

    def create(self, definition: str | None = None) -> list[str]:
        """Return the statements that create a view, with its owner but without its parts.

        Args:
            definition: A query to use instead of its own.
        """
        body = (definition or self.definition or "").rstrip().rstrip(";")
        name, owner = self.name.quoted, quoted(self.owner)
        if self.kind == "VIEW":
            return [f"CREATE VIEW {name} AS {body}", f"ALTER VIEW {name} OWNER TO {owner}"]
        method = f" USING {quoted(self.method)}" if self.method else ""
        return [
            f"CREATE MATERIALIZED VIEW {name}{method} AS {body} WITH NO DATA",
            f"ALTER MATERIALIZED VIEW {name} OWNER TO {owner}",
        ]

    @property
    def fill(self) -> list[str]:
        """The statements that fill it, as its owner would."""
        if self.kind != "MATERIALIZED VIEW" or not self.is_populated:
            return []
        # With the rows that policies show to its owner; sessions of the pipeline would refuse.
        refresh = f"REFRESH MATERIALIZED VIEW {self.name.quoted}"
        return ["SET LOCAL row_security = on", refresh, "SET LOCAL row_security = off"]


@dataclass(frozen=True)
class Routine:
    """A function or procedure.

    Attributes:
        oid: Its oid.
        schema: Its schema.
        identity: Its name with the types of its arguments.
        owner: The role that owns it.
        definition: The statement that creates it.
        comment: Its comment.
        has_default_grants: Whether nobody ever granted or revoked anything.
        grants: The statements that grant what others than its owner may do.
        gives: The oid of the relation whose rows its statements give, if it is no text.
    """

    oid: int
    schema: str
    identity: str
    owner: str
    definition: str
    comment: str | None
    has_default_grants: bool
    grants: tuple[str, ...]
    gives: int | None

    @property
    def subject(self) -> str:
        """What it is called in a message."""
        return f"function {self.identity}"

    @property
    def drop(self) -> tuple[str, str]:
        """What kind of object to drop, under what name."""
        return "ROUTINE", self.identity

    def create(self, grantees: Collection[str] | None) -> list[str]:
        """Return the statements that create it, with its owner, grants and comment.

        Args:
            grantees: Who may use what is created here; None where PostgreSQL's own defaults apply.
        """
        statements = [
            self.definition,
            f"ALTER ROUTINE {self.identity} OWNER TO {quoted(self.owner)}",
        ]
        if grantees is not None or not self.has_default_grants:
            # PostgreSQL itself lets everybody execute a new function.
            roles = {"PUBLIC"} if grantees is None else set(grantees)
            revoke = f"REVOKE ALL ON ROUTINE {self.identity} FROM {', '.join(sorted(roles))}"
            statements += [*([revoke] if roles else []), *self.grants]
        if self.comment is not None:
            text = literal(self.comment)
            statements.append(f"COMMENT ON ROUTINE {self.identity} IS {text}")
        return statements


def read_relations(
    connection: sa.Connection, oids: Sequence[int], names: Sequence[RelationName] = ()
) -> dict[int, Relation]:
    """Return relations by their oids, and those of others by their names that exist."""
    if not oids and not names:
        return {}
    listed = [*map(str, oids), *(f"to_regclass({literal(name.quoted)})" for name in names)]
    return _read_relations(connection, f"ARRAY[{', '.join(listed)}]")


def read_named(
    connection: sa.Connection, names: Sequence[RelationName]
) -> dict[RelationName, Relation]:
    """Return those of the named relations that exist."""
    found = read_relations(connection, (), names)
    return {relation.name: relation for relation in found.values()}


def read_routines(connection: sa.Connection, oids: Sequence[int]) -> dict[int, Routine]:
    """Return functions and procedures by their oids.

    Raises:
        CannotCarryError: One of them is an aggregate.
    """
    query = _ROUTINES.format(oids=oid_array(oids))
    found = {}
    for item in run(connection, query):
        oid, schema, identity, kind, owner, definition, comment, default, grants, gives = item
        if kind == "a":
            raise CannotCarryError(
                f"aggregate {identity}",
                None,
                "depends on the row type of a table of the stage.",
                "It cannot be carried over to the new table. Drop it, then run again.",
            )
        found[oid] = Routine(
            oid, schema, identity, owner, definition, comment, default, tuple(grants), gives
        )
    return found


def _read_relations(connection: sa.Connection, oids: str) -> dict[int, Relation]:
    found = {}
    for item in run(connection, _RELATIONS.format(oids=oids, conditions=CONDITIONS)):
        oid, schema, name, kind, relkind, owner, populated, method, definition, places, *arrays = (
            item
        )
        columns, types, has = (tuple(array or ()) for array in arrays)
        found[oid] = Relation(
            oid,
            RelationName(schema, name),
            kind,
            relkind,
            owner,
            populated,
            method,
            definition,
            places,
            columns,
            types,
            frozenset(has),
        )
    return found
