SELECT c.oid::bigint, n.nspname, c.relname,
       CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
       relkind::text, pg_get_userbyid(relowner), relispopulated, amname,
       CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
       -- Whether it names columns by their places: by an alias with columns, of a table or a join,
       -- or as what a function gives that returns rows of a table.
       relkind IN ('v', 'm') AND EXISTS (
           SELECT FROM pg_rewrite r WHERE ev_class = c.oid AND rulename = '_RETURN' AND (
               ev_action::text ~ concat(
                   ':alias \{{ALIAS (?:[^}}\\]|\\.)* :colnames \((?:[^}}\\]|\\.)*\}} ',
                   ':eref \{{(?:[^}}\\]|\\.)*\}} :rtekind [02] ')
               OR ev_action::text ~ ':rtekind 3 ' AND EXISTS (
                   SELECT FROM pg_depend
                   JOIN pg_proc p ON p.oid = refobjid JOIN pg_type t ON t.oid = prorettype
                   WHERE classid = 'pg_rewrite'::regclass AND objid = r.oid
                     AND refclassid = 'pg_proc'::regclass AND typrelid <> 0))),
       a.names, a.types,
       array_remove(ARRAY[{conditions}], NULL)
FROM pg_class c
JOIN pg_namespace n ON n.oid = relnamespace
LEFT JOIN pg_am ON pg_am.oid = relam
CROSS JOIN LATERAL (
    SELECT array_agg(CASE WHEN attisdropped THEN NULL ELSE attname::text END ORDER BY attnum)
               AS names,
           array_agg(concat(atttypid, ':', atttypmod) ORDER BY attnum) AS types,
           bool_or(attacl IS NOT NULL) AS granted,
           bool_or(attstattarget >= 0 OR attoptions::text ~ 'n_distinct' OR attcompression <> ''
                   OR attstorage <> typstorage) AS targeted
    FROM pg_attribute LEFT JOIN pg_type ON pg_type.oid = atttypid
    WHERE attrelid = c.oid AND attnum > 0
) a
WHERE c.oid = ANY ({oids}::oid[])
