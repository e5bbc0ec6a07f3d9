-- kind: default; step 50
-- catalog: pg_attrdef
SELECT rel.oid::bigint, 'default', attname, ARRAY[attname::text],
       format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', x, attname,
              pg_get_expr(adbin, adrelid)),
       format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', x, attname), NULL::bigint
FROM rel JOIN pg_attrdef ON adrelid = rel.oid
JOIN pg_attribute ON attrelid = rel.oid AND attnum = adnum
WHERE attgenerated = ''
