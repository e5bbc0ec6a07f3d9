-- kind: index; step 30; with its view
-- kind: comment of index; step 31; with its view; of primary key, index
-- kind: cluster; step 32; with its view; of primary key, index
-- kind: statistics target of index; step 33; with its view; of primary key, index
-- where: EXISTS (SELECT FROM pg_index
--                LEFT JOIN pg_description
--                    ON classoid = 'pg_class'::regclass AND objoid = indexrelid
--                WHERE indrelid = c.oid AND (NOT indisprimary OR indisclustered OR description IS NOT NULL)
--                OFFSET 0)
SELECT rel.oid::bigint, 'index', c.relname, i.columns,
       CASE WHEN k.oid IS NULL THEN pg_get_indexdef(indexrelid)
            ELSE format('ALTER TABLE %s ADD CONSTRAINT %I %s', x, c.relname,
                        pg_get_constraintdef(k.oid)) END,
       CASE WHEN k.oid IS NULL THEN format('DROP INDEX %I.%I', nspname, c.relname)
            ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', x, c.relname) END, indexrelid::bigint
FROM rel
JOIN pg_index ON indrelid = rel.oid
JOIN pg_class c ON c.oid = indexrelid
LEFT JOIN pg_constraint k ON conrelid = rel.oid AND conindid = indexrelid AND contype IN ('u', 'x')
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text ORDER BY p.place) AS columns
    FROM unnest(indkey) WITH ORDINALITY p(attnum, place)
    JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum = p.attnum
) i
WHERE NOT c.relispartition AND NOT indisprimary  -- a slice gets those of its table with it
UNION ALL
SELECT rel.oid::bigint, 'comment of index', c.relname, NULL,
       format('COMMENT ON INDEX %I.%I IS %L', nspname, c.relname, description),
       format('COMMENT ON INDEX %I.%I IS NULL', nspname, c.relname), NULL::bigint
FROM rel
JOIN pg_index ON indrelid = rel.oid
JOIN pg_class c ON c.oid = indexrelid
JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = c.oid
UNION ALL
SELECT rel.oid::bigint, 'cluster', c.relname, NULL,
       format('ALTER TABLE %s CLUSTER ON %I', x, c.relname),
       format('ALTER TABLE %s SET WITHOUT CLUSTER', x), NULL::bigint
FROM rel
JOIN pg_index ON indrelid = rel.oid
JOIN pg_class c ON c.oid = indexrelid
WHERE indisclustered
UNION ALL
SELECT rel.oid::bigint, 'statistics target of index', c.relname, NULL,
       string_agg(format('ALTER INDEX %I.%I ALTER COLUMN %s SET STATISTICS %s', nspname, c.relname,
                         attnum, attstattarget), '; ' ORDER BY attnum), NULL, NULL::bigint
FROM rel
JOIN pg_index ON indrelid = rel.oid
JOIN pg_class c ON c.oid = indexrelid
JOIN pg_attribute a ON a.attrelid = c.oid
WHERE attstattarget >= 0
GROUP BY rel.oid, nspname, c.relname
