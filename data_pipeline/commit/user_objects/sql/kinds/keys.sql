-- kind: primary key; step 29
-- where: EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary OFFSET 0)
SELECT rel.oid::bigint, 'primary key', conname, columns,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', x, conname, pg_get_constraintdef(k.oid)),
       format('ALTER TABLE %s DROP CONSTRAINT %I', x, conname), NULL::bigint
FROM rel
JOIN pg_constraint k ON conrelid = rel.oid AND contype = 'p'
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text) AS columns FROM pg_attribute
    WHERE attrelid = rel.oid AND attnum = ANY (conkey)
) c
