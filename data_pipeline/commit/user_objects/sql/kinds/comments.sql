-- kind: comment; step 13; at once; on any relation
-- where: EXISTS (SELECT FROM pg_description
--                WHERE classoid = 'pg_class'::regclass AND objoid = c.oid OFFSET 0)
SELECT rel.oid::bigint, 'comment', coalesce(attname, ''),
       CASE WHEN objsubid > 0 THEN ARRAY[attname::text] END,
       format('COMMENT ON %s IS %L', target, description),
       format('COMMENT ON %s IS NULL', target), NULL::bigint
FROM rel
JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = rel.oid
LEFT JOIN pg_attribute ON attrelid = rel.oid AND attnum = objsubid AND objsubid > 0
CROSS JOIN LATERAL (SELECT CASE WHEN objsubid = 0 THEN format('%s %s', word, x)
                                ELSE format('COLUMN %s.%I', x, attname) END AS target) t
