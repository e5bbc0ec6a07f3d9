WITH RECURSIVE part_of(classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, own FROM unnest(CAST(:own AS oid[])) own
  UNION
    SELECT d.classid, d.objid
    FROM part_of p JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid
    WHERE d.deptype IN ('a', 'i', 'P', 'S')
)
SELECT i.type || ' ' || i.identity
FROM pg_depend d CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) i
WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n' AND i.identity IS NOT NULL
  AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = :schema)
  AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM part_of)
ORDER BY 1
