"""A database with a stage, and the commit of new tables into it, as short as tests need it."""

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from data_pipeline.commit import user_objects
from data_pipeline.commit.user_objects import Broken, UserObjects
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName

LOG = logging.getLogger("attached")


@dataclass
class Stage:
    """The schema `s` with tables, and `s__staging` with those that are to replace them."""

    engine: sa.Engine

    def execute(self, *statements: str, as_role: str | None = None) -> None:
        with self.engine.begin() as connection:
            if as_role is not None:
                run(connection, f'SET LOCAL ROLE "{as_role}"')
            for statement in statements:
                run(connection, statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Gives the rows of a query; names in definitions are complete."""
        with self.engine.begin() as connection:
            run(connection, "SET LOCAL search_path = ''")
            found = connection.exec_driver_sql(query, execution_options={"no_parameters": True})
            return [tuple(row) for row in found]

    def create(self, *statements: str) -> None:
        """Creates relations in `s` by statements that name them without a schema."""
        self.execute("SET LOCAL search_path = s", *statements)

    def commit(
        self,
        *statements: str,
        policy: Literal["fail", "drop"] = "fail",
        definitions: Mapping[RelationName, str] | None = None,
        put_aside: bool = False,
    ) -> list[Broken]:
        """Replaces all relations of `s` that the statements create in the staging schema.

        Args:
            statements: They name relations without a schema.
            policy: What becomes of what does not fit.
            definitions: Queries to use instead of those of some views.
            put_aside: Whether old tables are kept in another schema instead of being dropped.
        """
        self.execute("SET LOCAL search_path = s__staging", *statements)
        new = dict(self.rows(_RELATIONS.format("s__staging")))
        old = dict(self.rows(_RELATIONS.format("s")))
        names = [RelationName("s", name) for name in new]
        with self.engine.begin() as connection:
            run(connection, "SET LOCAL search_path = ''")
            hanging = user_objects.read(connection, names)
            drop_objects(connection, hanging)
            for name, kind in new.items():
                if put_aside and name in old:
                    run(connection, f"ALTER TABLE s.{name} SET SCHEMA aside")
                elif name in old:
                    run(connection, f"DROP {old[name]} s.{name}")
                run(connection, f"ALTER {kind} s__staging.{name} SET SCHEMA s")
            return user_objects.restore_objects(connection, hanging, policy, LOG, definitions or {})


def drop_objects(connection: sa.Connection, hanging: UserObjects) -> None:
    """Drops what hangs on relations, as a commit does."""
    if statements := user_objects.drop_statements(hanging):
        run(connection, ";".join(statements))


_RELATIONS = """
SELECT relname, CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END
FROM pg_catalog.pg_class WHERE relnamespace = '{}'::regnamespace AND relkind IN ('r', 'v')
"""


@pytest.fixture
def stage(superuser: sa.Engine) -> Stage:
    """A stage of a role that may drop and put up what others own."""
    stage = Stage(superuser)
    stage.execute(
        "CREATE SCHEMA s",
        "CREATE SCHEMA s__staging",
        "CREATE SCHEMA aside",
        "CREATE SCHEMA users",
        "GRANT USAGE ON SCHEMA s, users TO PUBLIC",
    )
    return stage


@pytest.fixture
def new_role(stage: Stage) -> Iterator[Callable[[], str]]:
    """Creates roles, which are gone after the test with all that they own."""
    names: list[str] = []

    def create() -> str:
        names.append(f'a "role" {uuid.uuid4().hex[:8]}'.replace('"', "'"))
        stage.execute(
            f'CREATE ROLE "{names[-1]}"', f'GRANT CREATE ON SCHEMA s, users TO "{names[-1]}"'
        )
        return names[-1]

    yield create
    for name in names:
        stage.execute(f'DROP OWNED BY "{name}" CASCADE')
    for name in names:
        stage.execute(f'DROP ROLE "{name}"')


@pytest.fixture
def role(new_role: Callable[[], str]) -> str:
    return new_role()
