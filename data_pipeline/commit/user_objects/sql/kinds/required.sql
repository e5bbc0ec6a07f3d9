-- kind: NOT NULL; step 20
-- kind: identity; step 21
-- where: EXISTS (SELECT FROM pg_attribute n
--                WHERE n.attrelid = c.oid AND n.attnum > 0 AND n.attnotnull AND NOT n.attisdropped
--                  AND (n.attidentity <> '' OR NOT EXISTS (
--                      SELECT FROM pg_index
--                      WHERE indrelid = c.oid AND indisprimary AND n.attnum = ANY (indkey)
--                  )) OFFSET 0)
SELECT rel.oid::bigint, 'NOT NULL', attname, ARRAY[attname::text],
       format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL', x, attname),
       format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', x, attname), NULL::bigint
FROM rel JOIN pg_attribute ON attrelid = rel.oid
WHERE attnum > 0 AND attnotnull AND NOT attisdropped
UNION ALL
SELECT rel.oid::bigint, 'identity', attname, ARRAY[attname::text],
       format('ALTER TABLE %s ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %I.%I '
              'START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE %s %s)', x, attname,
              CASE attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, nspname, s.relname,
              seqstart, seqincrement, seqmin, seqmax, seqcache,
              CASE WHEN seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
       || coalesce(format('; SELECT setval(%L, ', format('%I.%I', nspname, s.relname))
                   || pg_sequence_last_value(s.oid) || ')', ''),
       format('ALTER TABLE %s ALTER COLUMN %I DROP IDENTITY', x, attname), NULL::bigint
FROM rel JOIN pg_attribute ON attrelid = rel.oid AND attidentity <> '' AND NOT attisdropped
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = rel.oid
    AND d.refobjsubid = attnum AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_sequence ON seqrelid = s.oid
WHERE NOT rel.relispartition  -- a slice gets that of its table with it
