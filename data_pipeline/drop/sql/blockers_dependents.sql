WITH RECURSIVE part_of(classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, own FROM unnest(CAST(:own AS oid[])) own
  UNION
    SELECT d.classid, d.objid
    FROM part_of p JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
    WHERE d.deptype IN ('a', 'i', 'P', 'S')
), dependent(classid, objid, refuses) AS (
    SELECT CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass::oid END,
           COALESCE(r.ev_class, d.objid), true
    FROM part_of p
    JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM part_of)
  UNION
    SELECT CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass::oid END,
           COALESCE(r.ev_class, d.objid), d.deptype = 'n'
    FROM dependent p
    JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.deptype IN ('n', 'a', 'i') AND COALESCE(r.ev_class, d.objid) <> p.objid
)
SELECT DISTINCT i.type AS type, i.identity AS identity, n.nspname AS schema, c.relname AS name
FROM dependent d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.refuses AND i.identity IS NOT NULL
  AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM part_of)
ORDER BY 1, 2
