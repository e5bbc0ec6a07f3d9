"""The role that may read every committed stage, and nothing else."""

from collections.abc import Collection

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import commit_lock_name, lock_for_transaction
from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance, project
from data_pipeline.store import catalog
from data_pipeline.store.lookup import committed

# Only what it lacks: two commits that grant on the same schema at once get in each other's way.
_LACKING = sa.text(stored_query(__file__, "reader_role_lacking"))


def reader_statements(
    connection: sa.Connection, role: str, relations: Collection[RelationName]
) -> list[str]:
    """Return the statements that let a role read what is committed, and our own views beside it.

    Objects of other users in these schemas are left to their owners, also by a superuser.

    Args:
        connection: The transaction of the commit, behind its last change.
        role: The role, `table_store.reader_role` in the configuration.
        relations: The committed tables and views; schemas that do not exist yet are passed over.

    Raises:
        ConfigurationError: There is no such role.
    """
    parameters = {
        "role": role,
        "schemas": sorted({relation.schema for relation in relations}),
        "committed": sorted(map(str, relations)),
    }
    lacking = connection.execute(_LACKING, parameters).all()
    if not lacking:
        raise ConfigurationError(
            f"table_store.reader_role names the role `{role}`, which does not exist on this "
            f"server. Create it (CREATE ROLE {quoted(role)};) or correct the name in "
            f"{project.configuration_name()}, then run again."
        )
    statements = []
    for schema, has_usage, unreadable in lacking:
        if schema is None:
            continue
        if not has_usage:
            statements.append(f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(role)}")
        if unreadable:
            listed = ", ".join(quoted(schema, name) for name in unreadable)
            statements.append(f"GRANT SELECT ON {listed} TO {quoted(role)}")
    return statements


def let_read(connection: sa.Connection, instance: Instance) -> None:
    """Let the reader role of an instance, if it has one, read all that is in the catalog now.

    Raises:
        ConfigurationError: There is no such role.
    """
    role = instance.table_store.reader_role
    if role is None:
        return
    if statements := reader_statements(connection, role, _committed(connection, instance)):
        run(connection, "; ".join(statements))


def _committed(connection: sa.Connection, instance: Instance) -> list[RelationName]:
    rows = catalog.rows(connection, instance.catalog_schema)
    return [committed(instance, table) for table in rows]


def let_read_committed(database: Database, instance: Instance) -> None:
    """Let the reader role of an instance, if it has one, read all that is committed.

    Commits do that by themselves; this is for a role that was configured after the last of them.

    Raises:
        ConfigurationError: There is no such role.
    """
    role = instance.table_store.reader_role
    if role is None:
        return
    with database.begin() as connection:
        if reader_statements(connection, role, _committed(connection, instance)):
            lock_for_transaction(connection, commit_lock_name(instance))
            let_read(connection, instance)
