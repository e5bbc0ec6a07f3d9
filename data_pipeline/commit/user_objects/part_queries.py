"""Queries that give what belongs to relations, as the statements that put it on.

Each gives: the relation, a kind, a name, the columns without which it makes no sense, the
statements that put it on, and those that take it off again. Relations come from `rel`, or from
`every`, which also holds relations that only have a part that refers to the others.
"""

_GRANTS = """
SELECT g.oid::bigint, 'grant', concat_ws(' ', a.grantee, g.attname, a.is_grantable), g.columns,
       format('GRANT %s ON TABLE %s TO %s%s', string_agg(a.privilege_type || g.suffix, ', '),
              g.x, a.who, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       format('REVOKE %s ON TABLE %s FROM %s', string_agg(a.privilege_type || g.suffix, ', '),
              g.x, a.who)
FROM (
    SELECT oid, x, relowner, relacl AS acl, NULL AS attname, '' AS suffix, NULL::text[] AS columns
    FROM rel WHERE relacl IS NOT NULL
  UNION ALL
    SELECT rel.oid, x, relowner, attacl, attname, format(' (%I)', attname), ARRAY[attname::text]
    FROM rel JOIN pg_attribute ON attrelid = rel.oid
    WHERE attacl IS NOT NULL AND NOT attisdropped
) g
CROSS JOIN LATERAL (
    SELECT grantee, privilege_type, is_grantable,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS who
    FROM aclexplode(g.acl) WHERE grantee <> g.relowner ORDER BY privilege_type
) a
GROUP BY g.oid, g.x, g.attname, g.columns, a.grantee, a.who, a.is_grantable
UNION ALL
SELECT rel.oid::bigint, 'revoked', '', NULL,
       format('REVOKE %s ON TABLE %s FROM %I', string_agg(d.privilege_type, ', '), x, owner),
       format('GRANT %s ON TABLE %s TO %I', string_agg(d.privilege_type, ', '), x, owner)
FROM rel CROSS JOIN LATERAL (
    SELECT privilege_type FROM aclexplode(acldefault('r', relowner)) EXCEPT
    SELECT privilege_type FROM aclexplode(relacl) WHERE grantee = relowner
) d
WHERE relacl IS NOT NULL GROUP BY rel.oid, x, owner
"""

_COMMENTS = """
SELECT rel.oid::bigint, 'comment', coalesce(attname, ''),
       CASE WHEN objsubid > 0 THEN ARRAY[attname::text] END,
       format('COMMENT ON %s IS %L', target, description),
       format('COMMENT ON %s IS NULL', target)
FROM rel
JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = rel.oid
LEFT JOIN pg_attribute ON attrelid = rel.oid AND attnum = objsubid AND objsubid > 0
CROSS JOIN LATERAL (SELECT CASE WHEN objsubid = 0 THEN format('%s %s', word, x)
                                ELSE format('COLUMN %s.%I', x, attname) END AS target) t
"""

_LABELS = """
SELECT rel.oid::bigint, 'security label', concat_ws(' ', provider, attname),
       CASE WHEN objsubid > 0 THEN ARRAY[attname::text] END,
       format('SECURITY LABEL FOR %I ON %s IS %L', provider, target, label),
       format('SECURITY LABEL FOR %I ON %s IS NULL', provider, target)
FROM rel
JOIN pg_seclabel ON classoid = 'pg_class'::regclass AND objoid = rel.oid
LEFT JOIN pg_attribute ON attrelid = rel.oid AND attnum = objsubid AND objsubid > 0
CROSS JOIN LATERAL (SELECT CASE WHEN objsubid = 0 THEN format('%s %s', word, x)
                                ELSE format('COLUMN %s.%I', x, attname) END AS target) t
"""

_OPTIONS = """
SELECT rel.oid::bigint, 'option', split_part(o, '=', 1), NULL,
       format('ALTER TABLE %s SET (%I = %L)', x, split_part(o, '=', 1),
              substr(o, strpos(o, '=') + 1)),
       format('ALTER TABLE %s RESET (%I)', x, split_part(o, '=', 1))
FROM rel CROSS JOIN LATERAL unnest(reloptions) o
UNION ALL
SELECT rel.oid::bigint, 'replica identity', '', i.columns,
       format('ALTER TABLE %s REPLICA IDENTITY %s', x, CASE relreplident
              WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE format('USING INDEX %I', name) END),
       format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', x)
FROM rel
LEFT JOIN LATERAL (
    SELECT c.relname AS name, array_agg(a.attname::text) AS columns
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    JOIN pg_attribute a ON a.attrelid = indexrelid
    WHERE indrelid = rel.oid AND indisreplident GROUP BY c.relname
) i ON true
WHERE relkind = 'r' AND relreplident IN ('f', 'n') OR name IS NOT NULL
UNION ALL
SELECT oid::bigint, 'row security', '', NULL,
       concat_ws('; ', CASE WHEN relrowsecurity
                       THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', x) END,
                       CASE WHEN relforcerowsecurity
                       THEN format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', x) END),
       format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', x)
FROM rel WHERE relrowsecurity OR relforcerowsecurity
"""

_STATISTICS_TARGETS = """
SELECT rel.oid::bigint, 'statistics target', attname, ARRAY[attname::text],
       concat_ws('; ', CASE WHEN attstattarget >= 0
                       THEN format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s',
                                   x, attname, attstattarget) END,
                       format('ALTER TABLE %s ALTER COLUMN %I SET (', x, attname)
                       || array_to_string(attoptions, ', ') || ')'),
       concat_ws('; ', CASE WHEN attstattarget >= 0
                       THEN format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS -1',
                                   x, attname) END,
                       format('ALTER TABLE %s ALTER COLUMN %I RESET (', x, attname)
                       || (SELECT string_agg(split_part(o, '=', 1), ', ') FROM unnest(attoptions) o)
                       || ')')
FROM rel JOIN pg_attribute ON attrelid = rel.oid
WHERE relkind IN ('r', 'm') AND attnum > 0 AND NOT attisdropped
  AND (attstattarget >= 0 OR attoptions IS NOT NULL)
"""

_DEFAULTS = """
SELECT rel.oid::bigint, 'default', attname, ARRAY[attname::text],
       format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', x, attname,
              pg_get_expr(adbin, adrelid)),
       format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', x, attname)
FROM rel JOIN pg_attrdef ON adrelid = rel.oid
JOIN pg_attribute ON attrelid = rel.oid AND attnum = adnum
WHERE attgenerated = ''
"""

_INDEXES = """
SELECT rel.oid::bigint, CASE WHEN indisprimary THEN 'primary key' ELSE 'index' END, c.relname,
       i.columns,
       CASE WHEN k.oid IS NULL THEN pg_get_indexdef(indexrelid)
            ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', x, c.relname,
                        pg_get_constraintdef(k.oid)) END, NULL
FROM rel
JOIN pg_index ON indrelid = rel.oid
JOIN pg_class c ON c.oid = indexrelid
LEFT JOIN pg_constraint k ON conrelid = rel.oid AND conindid = indexrelid AND contype IN ('u', 'x')
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text ORDER BY p.place) AS columns
    FROM unnest(indkey) WITH ORDINALITY p(attnum, place)
    JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum = p.attnum
) i
UNION ALL
SELECT rel.oid::bigint, 'comment of index', c.relname, NULL,
       format('COMMENT ON INDEX %I.%I IS %L', nspname, c.relname, description),
       format('COMMENT ON INDEX %I.%I IS NULL', nspname, c.relname)
FROM rel
JOIN pg_index ON indrelid = rel.oid
JOIN pg_class c ON c.oid = indexrelid
JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = c.oid
"""

_CONSTRAINTS = """
SELECT rel.oid::bigint, CASE contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, conname,
       columns,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', x, conname, pg_get_constraintdef(k.oid)),
       format('ALTER TABLE %s DROP CONSTRAINT %I', x, conname), k.oid::bigint
FROM rel
JOIN pg_constraint k ON conrelid = rel.oid
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text) AS columns FROM pg_attribute
    WHERE attrelid = rel.oid AND attnum = ANY (conkey)
) c
WHERE contype IN ('c', 'f')
UNION ALL
SELECT rel.oid::bigint, 'comment of constraint', conname, NULL,
       format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, x, description),
       format('COMMENT ON CONSTRAINT %I ON %s IS NULL', conname, x), NULL
FROM rel
JOIN pg_constraint k ON conrelid = rel.oid
JOIN pg_description ON classoid = 'pg_constraint'::regclass AND objoid = k.oid
"""

_POLICIES = """
SELECT c.oid::bigint, 'policy', polname, NULL::text[],
       concat_ws('; ', format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, x,
           CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
           CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                       WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
           (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC'
                              ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
            FROM unnest(polroles) role))
       || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', ''),
       format('COMMENT ON POLICY %I ON %s IS ', polname, x)
       || quote_literal(obj_description(p.oid, 'pg_policy'))),
       format('DROP POLICY %I ON %s', polname, x), p.oid::bigint
FROM pg_policy p
JOIN every c ON c.oid = polrelid
WHERE (c.inside OR p.oid = ANY ({others}))
"""

_TRIGGERS = """
SELECT c.oid::bigint, 'trigger', tgname, NULL::text[],
       concat_ws('; ', pg_get_triggerdef(t.oid),
           CASE tgenabled WHEN 'D' THEN format('ALTER TABLE %s DISABLE TRIGGER %I', x, tgname)
                WHEN 'R' THEN format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', x, tgname)
                WHEN 'A' THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', x, tgname) END,
           format('COMMENT ON TRIGGER %I ON %s IS ', tgname, x)
           || quote_literal(obj_description(t.oid, 'pg_trigger'))),
       format('DROP TRIGGER %I ON %s', tgname, x), t.oid::bigint
FROM pg_trigger t
JOIN every c ON c.oid = tgrelid
WHERE NOT tgisinternal
  AND (c.inside OR t.oid = ANY ({others}))
"""

_RULES = """
SELECT c.oid::bigint, 'rule', rulename, NULL::text[],
       concat_ws('; ', rtrim(pg_get_ruledef(r.oid), ';'),
           CASE ev_enabled WHEN 'D' THEN format('ALTER TABLE %s DISABLE RULE %I', x, rulename)
                WHEN 'R' THEN format('ALTER TABLE %s ENABLE REPLICA RULE %I', x, rulename)
                WHEN 'A' THEN format('ALTER TABLE %s ENABLE ALWAYS RULE %I', x, rulename) END,
           format('COMMENT ON RULE %I ON %s IS ', rulename, x)
           || quote_literal(obj_description(r.oid, 'pg_rewrite'))),
       format('DROP RULE %I ON %s', rulename, x), r.oid::bigint
FROM pg_rewrite r
JOIN every c ON c.oid = ev_class
WHERE rulename <> '_RETURN'
  AND (c.inside OR r.oid = ANY ({others}))
"""

_STATISTICS = """
SELECT rel.oid::bigint, 'statistics', stxname, columns,
       concat_ws('; ', pg_get_statisticsobjdef(s.oid),
           format('ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, stxname,
                  pg_get_userbyid(stxowner)),
           CASE WHEN stxstattarget >= 0
                THEN format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, stxname,
                            stxstattarget) END,
           format('COMMENT ON STATISTICS %I.%I IS ', n.nspname, stxname)
           || quote_literal(obj_description(s.oid, 'pg_statistic_ext'))),
       format('DROP STATISTICS %I.%I', n.nspname, stxname)
FROM rel
JOIN pg_statistic_ext s ON stxrelid = rel.oid
JOIN pg_namespace n ON n.oid = stxnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text) AS columns FROM pg_attribute
    WHERE attrelid = rel.oid AND attnum = ANY (stxkeys)
) k
"""

_PUBLICATIONS = """
SELECT rel.oid::bigint, 'publication', pubname, NULL::text[],
       format('ALTER PUBLICATION %I ADD TABLE ONLY %s', pubname, x)
       || coalesce((SELECT ' (' || string_agg(quote_ident(attname), ', ') || ')' FROM pg_attribute
                    WHERE attrelid = rel.oid AND attnum = ANY (prattrs)), '')
       || coalesce(' WHERE (' || pg_get_expr(prqual, prrelid) || ')', ''),
       format('ALTER PUBLICATION %I DROP TABLE ONLY %s', pubname, x)
FROM rel
JOIN pg_publication_rel ON prrelid = rel.oid
JOIN pg_publication p ON p.oid = prpubid
"""

_SEQUENCES = """
SELECT rel.oid::bigint, 'sequence', format('%I.%I', n.nspname, s.relname),
       ARRAY[attname::text],
       format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', n.nspname, s.relname, x, attname),
       format('ALTER SEQUENCE %I.%I OWNED BY NONE', n.nspname, s.relname)
FROM rel
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = rel.oid
    AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_attribute ON attrelid = rel.oid AND attnum = d.refobjsubid
"""

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
    "acl": _GRANTS,
    "comment": _COMMENTS,
    "label": _LABELS,
    "option": _OPTIONS,
    "target": _STATISTICS_TARGETS,
    "pg_attrdef": _DEFAULTS,
    "pg_index": _INDEXES,
    "pg_statistic_ext": _STATISTICS,
    "pg_publication_rel": _PUBLICATIONS,
    "sequence": _SEQUENCES,
}
"""The queries, by the catalog or column in which they look, or the kind of relation."""

WITH_OID = {
    "pg_constraint": _CONSTRAINTS,
    "pg_policy": _POLICIES,
    "pg_trigger": _TRIGGERS,
    "pg_rewrite": _RULES,
}
"""The same, with the oid of the part."""
