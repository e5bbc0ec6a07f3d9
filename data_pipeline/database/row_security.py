"""Row security that would hide rows from the pipeline: an error that names table and policies.

Sessions read with `row_security = off` (see `sessions`). PostgreSQL then refuses a query
that a policy would filter, and names the table without its schema, in the server's language.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.database.identifiers import RelationName, quoted

Ask = Callable[[str], Iterable[Sequence[Any]]]
"""Gives the rows of a query without parameters."""

REFUSED = "42501"
"""SQLSTATE of such a refusal, and of missing privileges."""

_SAID = "row-level security policy"

_TABLES = """
SELECT n.nspname::text, c.relname::text, pg_get_userbyid(c.relowner)::text, current_user::text,
       c.relforcerowsecurity, pg_has_role(c.relowner, 'USAGE'), row_security_active(c.oid),
       has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'),
       ARRAY(SELECT polname::text FROM pg_policy WHERE polrelid = c.oid ORDER BY 1)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity ORDER BY 1, 2
"""


@dataclass(frozen=True)
class _Secured:
    """A table with row security, as the role of the session meets it."""

    schema: str
    name: str
    owner: str
    role: str
    is_forced: bool
    is_owned: bool
    is_active: bool
    is_readable: bool
    policies: Sequence[str]

    def __str__(self) -> str:
        names = ", ".join(f"`{name}`" for name in self.policies)
        policies = f"{'policy' if len(self.policies) == 1 else 'policies'} {names}"
        by = policies if names else "no policy, which hides all"
        role = f"database role `{self.role}`" if self.is_active else "owner of a view of it"
        table = RelationName(self.schema, self.name)
        return f"Row security of the table {table} ({by}) would hide rows from the {role}."

    @property
    def remedies(self) -> Iterator[str]:
        """What to do about it: statements, and advice."""
        table = quoted(self.schema, self.name)
        if self.is_forced and (self.is_owned or not self.is_active):
            yield f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;"
        if self.is_active:
            yield f"ALTER ROLE {quoted(self.role)} BYPASSRLS; -- by a superuser"
        if not self.is_forced:
            yield (
                f"Let the owner of the table, `{self.owner}`, make a view of the rows that are "
                "meant, which the pipeline reads instead."
            )
        yield f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"


def is_refusal(error: Any) -> bool:
    """Whether psycopg2 reported that row security would have hidden rows."""
    diagnosis = getattr(error, "diag", None)
    # The place in PostgreSQL's source tells it from missing privileges, in any language.
    return getattr(diagnosis, "source_function", None) == "check_enable_rls"


def hidden_rows(reason: str, ask: Ask, about: str = "") -> str | None:
    """Say which policies would have hidden rows from a query that was refused, and what to do.

    Args:
        reason: What PostgreSQL said, with SQLSTATE `REFUSED`.
        ask: Queries the database, in a session of the role that was refused.
        about: What names tables with their schemas, such as the query.

    Returns:
        The sentences; None if the refusal was about privileges.
    """
    named = [table for row in ask(_TABLES) if _is_named((table := _Secured(*row)).name, reason)]
    if _SAID not in reason:
        # In another language. Without the privilege to read a table, it is that which was missing.
        named = [table for table in named if table.is_readable]
    # PostgreSQL names no schema, so there may be several.
    for is_likelier in (
        lambda table: f'"{table.name}"' in reason,
        lambda table: table.is_active,
        lambda table: table.schema in about,
    ):
        named = [table for table in named if is_likelier(table)] or named
    if not named:
        return None
    return "\n".join(
        [
            *map(str, named),
            "The pipeline reads all rows of a table or fails, so that no result lacks some of them "
            "in silence. Do one of these, then run again:",
            *(f"    {remedy}" for table in named for remedy in table.remedies),
        ]
    )


def _is_named(table: str, reason: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(table)}(?!\w)", reason) is not None
