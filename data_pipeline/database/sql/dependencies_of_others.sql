SELECT o.class, o.oid, coalesce(p.polrelid, r.ev_class, t.tgrelid)::bigint,
       pg_describe_object(o.class::regclass, o.oid::oid, o.own),
       pg_describe_object(o.of_class::regclass, o.of::oid, o.number), a.attname,
       pg_get_userbyid(coalesce(c.relowner, k.relowner))
FROM (VALUES {objects}) AS o(class, oid, own, of_class, of, number)
LEFT JOIN pg_policy p ON o.class = 'pg_policy' AND p.oid = o.oid
LEFT JOIN pg_rewrite r ON o.class = 'pg_rewrite' AND r.oid = o.oid
LEFT JOIN pg_trigger t ON o.class = 'pg_trigger' AND t.oid = o.oid
LEFT JOIN pg_class c ON o.class = 'pg_class' AND c.oid = o.oid
LEFT JOIN pg_constraint f ON o.class = 'pg_constraint' AND f.oid = o.oid
LEFT JOIN pg_class k ON k.oid = f.conrelid
LEFT JOIN pg_attribute a
    ON o.of_class = 'pg_class' AND a.attrelid = o.of AND a.attnum = o.number AND o.number > 0
ORDER BY o.class, o.oid
