-- kind: statistics target; step 15; at once
-- kind: storage; step 16; at once
-- where: a.targeted
SELECT rel.oid::bigint, 'statistics target', attname, ARRAY[attname::text],
       concat_ws('; ', CASE WHEN attstattarget >= 0
                       THEN format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s',
                                   x, attname, attstattarget) END,
                       format('ALTER TABLE %s ALTER COLUMN %I SET (', x, attname)
                       || array_to_string(options, ', ') || ')'),
       concat_ws('; ', CASE WHEN attstattarget >= 0
                       THEN format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS -1',
                                   x, attname) END,
                       format('ALTER TABLE %s ALTER COLUMN %I RESET (', x, attname)
                       || (SELECT string_agg(split_part(o, '=', 1), ', ') FROM unnest(options) o)
                       || ')'), NULL::bigint
FROM rel JOIN pg_attribute ON attrelid = rel.oid
-- The server may keep options of its own there, which belong to the column that is gone.
CROSS JOIN LATERAL (
    SELECT array_agg(o) AS options FROM unnest(attoptions) o
    WHERE split_part(o, '=', 1) IN ('n_distinct', 'n_distinct_inherited')
) own
WHERE relkind IN ('r', 'm') AND attnum > 0 AND NOT attisdropped
  AND (attstattarget >= 0 OR options IS NOT NULL)
UNION ALL
SELECT rel.oid::bigint, 'storage', attname, ARRAY[attname::text],
       concat_ws('; ', CASE WHEN attstorage <> typstorage
                       THEN format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', x, attname,
                                   CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                                   WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END) END,
                       CASE WHEN attcompression <> ''
                       THEN format('ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION %s', x, attname,
                                   CASE attcompression WHEN 'p' THEN 'pglz' ELSE 'lz4' END) END),
       NULL, NULL::bigint
FROM rel JOIN pg_attribute ON attrelid = rel.oid JOIN pg_type ON pg_type.oid = atttypid
WHERE relkind IN ('r', 'm') AND attnum > 0 AND NOT attisdropped
  AND (attstorage <> typstorage OR attcompression <> '')
