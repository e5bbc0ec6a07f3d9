"""Queries that give what belongs to relations, as the statements that put it on: one file a kind.

Each gives: the relation, a kind, a name, the columns without which it makes no sense, the
statements that put it on, and those that take it off again. Relations come from `rel`, or from
`every`, which also holds relations that only have a part that refers to the others.
"""

from data_pipeline.database.sql_text import stored_query

REL = """
WITH every AS MATERIALIZED (
    SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS x,
           pg_get_userbyid(c.relowner) AS owner, c.oid = ANY ({relations}) AS inside,
           CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END
               AS word
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ({relations} || {others_relations})
), rel AS (SELECT * FROM every WHERE inside)
"""


WITHOUT_OID = {
    "acl": stored_query(__file__, "grants"),
    "comment": stored_query(__file__, "comments"),
    "label": stored_query(__file__, "labels"),
    "option": stored_query(__file__, "options"),
    "target": stored_query(__file__, "statistics_targets"),
    "pg_attrdef": stored_query(__file__, "defaults"),
    "pg_index": stored_query(__file__, "indexes"),
    "pg_statistic_ext": stored_query(__file__, "statistics"),
    "pg_publication_rel": stored_query(__file__, "publications"),
    "sequence": stored_query(__file__, "sequences"),
}
"""The queries, by the catalog or column in which they look, or the kind of relation."""

WITH_OID = {
    "pg_constraint": stored_query(__file__, "constraints"),
    "pg_policy": stored_query(__file__, "policies"),
    "pg_trigger": stored_query(__file__, "triggers"),
    "pg_rewrite": stored_query(__file__, "rules"),
}
"""The same, with the oid of the part."""
