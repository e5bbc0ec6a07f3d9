SELECT DISTINCT pg_describe_object('pg_class'::regclass, v.oid, 0) || ' (role '
       || pg_get_userbyid(v.relowner) || ')'
FROM pg_constraint k
JOIN pg_depend d ON d.refclassid = 'pg_constraint'::regclass AND d.refobjid = k.oid
                 OR d.refclassid = 'pg_class'::regclass AND d.refobjid = k.conindid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_constraint f ON d.classid = 'pg_constraint'::regclass AND f.oid = d.objid
    AND f.contype = 'f'
JOIN pg_class v ON v.oid = coalesce(r.ev_class, f.conrelid)
WHERE k.conrelid = {relation}::regclass AND v.oid <> k.conrelid
UNION ALL
SELECT format('publication %I', pubname) FROM pg_publication_tables t
JOIN pg_class c ON c.oid = {relation}::regclass AND c.relname = t.tablename
    AND c.relnamespace::regnamespace::text = quote_ident(t.schemaname)
