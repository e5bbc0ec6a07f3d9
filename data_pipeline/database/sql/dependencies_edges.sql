-- OFFSET 0 keeps PostgreSQL from reading whole catalogs for what a few look-ups by index give.
-- What comes out of arrays is taken for few rows: for more, it would compile the query (`jit`), which
-- takes longer than all else in a commit.
WITH RECURSIVE root(oid, place) AS (
    SELECT relation::oid, place
    FROM unnest((SELECT ARRAY[{relations}]::regclass[])) WITH ORDINALITY AS r(relation, place)
    WHERE relation IS NOT NULL
), node(class, oid) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM root
  UNION
    SELECT next.class, next.oid
    FROM node
    CROSS JOIN LATERAL (
        SELECT * FROM pg_depend WHERE refclassid = node.class AND refobjid = node.oid OFFSET 0
    ) d
    CROSS JOIN LATERAL (
        SELECT d.classid AS class, d.objid AS oid
        WHERE d.classid = 'pg_proc'::regclass
           OR (d.classid = 'pg_type'::regclass AND d.deptype = 'i')
           OR ({behind_parts} AND d.classid <> 'pg_rewrite'::regclass
               AND d.deptype IN ('a', 'i', 'P', 'S'))
      UNION ALL
        SELECT 'pg_class'::regclass::oid, r.ev_class FROM pg_rewrite r
        WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
    ) next
), walked(class, oid) AS (
    SELECT n.class, n.oid
    FROM (SELECT array_agg(class) AS classes, array_agg(oid) AS oids FROM node) all_nodes
    CROSS JOIN LATERAL unnest(classes, oids) AS n(class, oid)
)
SELECT e.of_class::regclass::text, e.of::bigint, e.columns::int[], e.class::regclass::text,
       e.oid::bigint, e.number, e.is_part, c.relkind::text, e.place, e.entries, e.entered,
       CASE WHEN owned.owner IS NOT NULL AND NOT (
                pg_has_role(owned.owner, 'USAGE')
                AND CASE WHEN current_setting('server_version_num')::int >= 160000
                         THEN pg_has_role(owned.owner, 'SET') ELSE true END
                AND (owned.schema IS NULL OR has_schema_privilege(owned.schema, 'CREATE')))
            THEN pg_get_userbyid(owned.owner) END,
       CASE WHEN e.place IS NOT NULL THEN (
           SELECT format('table %s (role %s)', inhparent::regclass, pg_get_userbyid(p.relowner))
           FROM pg_inherits JOIN pg_class p ON p.oid = inhparent
           WHERE inhrelid = e.oid
             -- A slice of a table may go, and come again.
             AND NOT (c.relispartition AND p.relnamespace = c.relnamespace
                      AND p.relname = split_part(c.relname, '@', 1))
           ORDER BY inhseqno LIMIT 1
       ) END
FROM (
    SELECT d.refclassid AS of_class, d.refobjid AS of,
           array_agg(d.refobjsubid) FILTER (WHERE d.refobjsubid > 0) AS columns,
           CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass::oid END AS class,
           coalesce(r.ev_class, d.objid) AS oid, max(d.objsubid) AS number,
           bool_or(d.deptype IN ('a', 'i', 'P', 'S')) AS is_part, NULL::int AS place,
           count(*)::int AS entries, sum(d.xmin::text::bigint)::bigint AS entered
    FROM walked
    CROSS JOIN LATERAL (
        SELECT *, xmin FROM pg_depend
        WHERE refclassid = walked.class AND refobjid = walked.oid OFFSET 0
    ) d
    LEFT JOIN LATERAL (
        SELECT oid, ev_class FROM pg_rewrite
        WHERE d.classid = 'pg_rewrite'::regclass AND oid = d.objid AND rulename = '_RETURN' OFFSET 0
    ) r ON true
    GROUP BY 1, 2, 4, 5
  UNION ALL
    SELECT 0, 0, NULL, class, walked.oid, 0, false, place, 0, 0
    FROM walked LEFT JOIN root ON root.oid = walked.oid AND class = 'pg_class'::regclass
) e
LEFT JOIN LATERAL (
    SELECT relkind, relname, relispartition, relowner, relnamespace FROM pg_class
    WHERE e.class = 'pg_class'::regclass AND oid = e.oid OFFSET 0
) c ON true
LEFT JOIN LATERAL (
    SELECT c.relowner AS owner, CASE WHEN e.of_class <> 0 THEN c.relnamespace END AS schema
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL
    SELECT proowner, pronamespace FROM pg_proc WHERE e.class = 'pg_proc'::regclass AND oid = e.oid
  UNION ALL
    SELECT stxowner, stxnamespace FROM pg_statistic_ext
    WHERE e.class = 'pg_statistic_ext'::regclass AND oid = e.oid
  UNION ALL
    SELECT pubowner, NULL FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
    WHERE e.class = 'pg_publication_rel'::regclass AND r.oid = e.oid
) owned ON true
ORDER BY e.oid, e.of, e.class, e.of_class
