SELECT pair.name, c.relkind::text, c.relpersistence::text,
       (SELECT json_agg(json_build_array(attname, format_type(atttypid, atttypmod), attcollation,
                                         attnotnull, attgenerated <> '' OR attidentity <> '')
                        ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
       (SELECT conname FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p'),
       ARRAY(SELECT attname FROM pg_constraint, unnest(conkey) WITH ORDINALITY k(number, place)
             JOIN pg_attribute ON attrelid = c.oid AND attnum = number
             WHERE conrelid = c.oid AND contype = 'p' ORDER BY place)::text[],
       -- Equal keys are found by operators of pg_catalog alone.
       NOT EXISTS (SELECT FROM pg_constraint JOIN pg_attribute ON attrelid = c.oid
                       AND attnum = ANY (conkey)
                   JOIN pg_type t ON t.oid = atttypid
                   WHERE conrelid = c.oid AND contype = 'p' AND t.typtype = 'b'
                     AND t.typnamespace <> 'pg_catalog'::regnamespace),
       EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND NOT indisprimary
               AND (indisunique OR indisexclusion)),
       EXISTS (SELECT FROM pg_constraint WHERE confrelid = c.oid AND contype = 'f')
FROM unnest(ARRAY[{names}]) AS pair(name) JOIN pg_class c ON c.oid = to_regclass(pair.name)
