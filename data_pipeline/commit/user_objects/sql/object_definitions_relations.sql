SELECT c.oid::bigint, n.nspname, c.relname,
       CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END,
       relkind::text, pg_get_userbyid(relowner), relispopulated, amname,
       CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
       a.names, a.types,
       array_remove(ARRAY[
           CASE WHEN relacl IS NOT NULL OR a.granted THEN 'acl' END,
           CASE WHEN a.targeted THEN 'target' END,
           CASE WHEN reloptions IS NOT NULL OR relreplident IN ('f', 'i') OR relrowsecurity
                     OR relforcerowsecurity
                     OR relreplident = 'n' AND relkind = 'r' THEN 'option' END,
           CASE WHEN EXISTS (SELECT FROM pg_description
                             WHERE classoid = 'pg_class'::regclass AND objoid = c.oid)
                THEN 'comment' END,
           CASE WHEN EXISTS (SELECT FROM pg_seclabel
                             WHERE classoid = 'pg_class'::regclass AND objoid = c.oid)
                THEN 'label' END,
           CASE WHEN EXISTS (SELECT FROM pg_constraint k
                             LEFT JOIN pg_description
                                 ON classoid = 'pg_constraint'::regclass AND objoid = k.oid
                             WHERE conrelid = c.oid
                               AND (contype IN ('c', 'f') OR description IS NOT NULL))
                THEN 'pg_constraint' END,
           CASE WHEN EXISTS (SELECT FROM pg_index
                             LEFT JOIN pg_description
                                 ON classoid = 'pg_class'::regclass AND objoid = indexrelid
                             WHERE indrelid = c.oid
                               AND (NOT indisprimary OR description IS NOT NULL))
                THEN 'pg_index' END], NULL)
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
