-- kind: constraint; step 60
-- kind: foreign key; step 61; taken off
-- kind: comment of constraint; step 62; of primary key, index, constraint, foreign key
-- where: EXISTS (SELECT FROM pg_constraint k
--                LEFT JOIN pg_description
--                    ON classoid = 'pg_constraint'::regclass AND objoid = k.oid
--                WHERE conrelid = c.oid
--                  AND (contype IN ('c', 'f') OR description IS NOT NULL) OFFSET 0)
SELECT rel.oid::bigint, CASE contype WHEN 'f' THEN 'foreign key' ELSE 'constraint' END, conname,
       columns,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', x, conname, pg_get_constraintdef(k.oid)),
       format('ALTER TABLE %s DROP CONSTRAINT %I', x, conname), k.oid::bigint
FROM rel
JOIN pg_constraint k ON conrelid = rel.oid
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text) AS columns FROM pg_attribute
    WHERE attrelid = rel.oid AND attnum = ANY (conkey)
) c
WHERE contype IN ('c', 'f') AND conparentid = 0  -- a slice gets those of its table with it
UNION ALL
SELECT rel.oid::bigint, 'comment of constraint', conname, NULL,
       format('COMMENT ON CONSTRAINT %I ON %s IS %L', conname, x, description),
       format('COMMENT ON CONSTRAINT %I ON %s IS NULL', conname, x), NULL
FROM rel
JOIN pg_constraint k ON conrelid = rel.oid
JOIN pg_description ON classoid = 'pg_constraint'::regclass AND objoid = k.oid
