SELECT c.oid::bigint, n.nspname, c.relname,
       CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
       relkind::text, pg_get_userbyid(relowner), relispopulated, amname,
       CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
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
           bool_or(attstattarget >= 0 OR attoptions IS NOT NULL) AS targeted
    FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
) a
WHERE c.oid = ANY ({oids}::oid[])
