-- kind: policy; step 85; taken off; never left out
-- catalog: pg_policy
SELECT c.oid::bigint, 'policy', polname, NULL::text[],
       concat_ws('; ', format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, x,
           CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
           CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                       WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
           (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC'
                              ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
            FROM unnest(polroles) role))
       || coalesce(' USING (' || pg_get_expr(polqual, polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')', ''),
       format('COMMENT ON POLICY %I ON %s IS ', polname, x)
       || quote_literal(obj_description(p.oid, 'pg_policy'))),
       format('DROP POLICY %I ON %s', polname, x), p.oid::bigint
FROM pg_policy p
JOIN every c ON c.oid = polrelid
WHERE (c.inside OR p.oid = ANY ({others}))
