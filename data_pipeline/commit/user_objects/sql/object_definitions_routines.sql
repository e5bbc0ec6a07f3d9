SELECT p.oid::bigint, (SELECT nspname FROM pg_namespace n WHERE n.oid = pronamespace),
       p.oid::regprocedure::text, prokind::text, pg_get_userbyid(proowner),
       CASE WHEN prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
       obj_description(p.oid, 'pg_proc'), proacl IS NULL,
       ARRAY(SELECT format('GRANT EXECUTE ON ROUTINE %s TO %s%s', p.oid::regprocedure,
                           CASE grantee WHEN 0 THEN 'PUBLIC'
                           ELSE quote_ident(pg_get_userbyid(grantee)) END,
                           CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
             FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
             WHERE grantee <> proowner ORDER BY grantee),
       -- Whose rows the statements of its body give, column by column.
       CASE WHEN prosqlbody IS NOT NULL
            THEN (SELECT typrelid::bigint FROM pg_type t WHERE t.oid = prorettype) END
FROM pg_proc p WHERE p.oid = ANY ({oids})
