-- kind: sequence; step 40; taken off
-- catalog: pg_class S
SELECT rel.oid::bigint, 'sequence', format('%I.%I', n.nspname, s.relname),
       ARRAY[attname::text],
       format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', n.nspname, s.relname, x, attname),
       format('ALTER SEQUENCE %I.%I OWNED BY NONE', n.nspname, s.relname), NULL::bigint
FROM rel
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = rel.oid
    AND d.classid = 'pg_class'::regclass AND d.deptype = 'a'
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_attribute ON attrelid = rel.oid AND attnum = d.refobjsubid
