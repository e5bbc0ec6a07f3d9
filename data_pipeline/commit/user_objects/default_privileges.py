"""Default privileges: what others may do with a relation that somebody creates in a schema."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from data_pipeline.database.identifiers import RelationName, quoted

QUERY = """
SELECT 'pg_default_acl', d.oid::bigint, json_build_array(n.nspname, d.defaclobjtype::text,
       a.privilege_type, a.is_grantable, a.grantee = d.defaclrole,
       CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END)::text
FROM pg_default_acl d
CROSS JOIN LATERAL aclexplode(d.defaclacl) a
LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
WHERE d.defaclrole = to_regrole(quote_ident(current_user)) AND d.defaclobjtype IN ('r', 'f')
"""
"""The default privileges that the current role has set up: a catalog, an oid, and `parsed` text."""


@dataclass(frozen=True)
class Default:
    """A privilege that somebody has on all that the pipeline's role creates.

    Attributes:
        schema: In which schema; None means everywhere.
        is_for_functions: Whether it is about functions, and not about relations.
        privilege: What it allows.
        is_grantable: Whether the grantee may pass it on.
        is_own: Whether the grantee is the role that creates it.
        grantee: The role as it stands in SQL.
    """

    schema: str | None
    is_for_functions: bool
    privilege: str
    is_grantable: bool
    is_own: bool
    grantee: str


def parsed(text: str) -> Default:
    """Return a default privilege from what `QUERY` gives of it."""
    schema, kind, privilege, grantable, own, who = json.loads(text)
    return Default(schema, kind == "f", privilege, grantable, own, quoted(who) if who else "PUBLIC")


def grantees(defaults: Iterable[Default], schema: str, *, functions: bool) -> list[str] | None:
    """Return who else can do something with what is created in `schema`.

    Returns:
        The roles; None if nobody set up anything, so that PostgreSQL's own defaults apply.
    """
    relevant = [
        default
        for default in defaults
        if default.schema in (None, schema) and default.is_for_functions == functions
    ]
    if not relevant:
        return None
    return sorted({default.grantee for default in relevant if not default.is_own})


def grants(defaults: Iterable[Default], relation: RelationName) -> list[str]:
    """Return statements that grant what the schema of a new relation adds to the global ones."""
    return [
        f"GRANT {default.privilege} ON TABLE {relation.quoted} TO {default.grantee}"
        f"{' WITH GRANT OPTION' if default.is_grantable else ''}"
        for default in defaults
        if default.schema == relation.schema and not default.is_for_functions and not default.is_own
    ]
