-- kind: security label; step 12; at once; on any relation
-- where: EXISTS (SELECT FROM pg_seclabel
--                WHERE classoid = 'pg_class'::regclass AND objoid = c.oid)
SELECT rel.oid::bigint, 'security label', concat_ws(' ', provider, attname),
       CASE WHEN objsubid > 0 THEN ARRAY[attname::text] END,
       format('SECURITY LABEL FOR %I ON %s IS %L', provider, target, label),
       format('SECURITY LABEL FOR %I ON %s IS NULL', provider, target), NULL::bigint
FROM rel
JOIN pg_seclabel ON classoid = 'pg_class'::regclass AND objoid = rel.oid
LEFT JOIN pg_attribute ON attrelid = rel.oid AND attnum = objsubid AND objsubid > 0
CROSS JOIN LATERAL (SELECT CASE WHEN objsubid = 0 THEN format('%s %s', word, x)
                                ELSE format('COLUMN %s.%I', x, attname) END AS target) t
