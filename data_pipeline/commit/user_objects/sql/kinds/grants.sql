-- kind: grant; step 10; at once; on any relation
-- kind: revoked; step 11; at once; on any relation
-- where: relacl IS NOT NULL OR a.granted
SELECT g.oid::bigint, 'grant', concat_ws(' ', a.grantee, g.attname, a.is_grantable), g.columns,
       format('GRANT %s ON TABLE %s TO %s%s', string_agg(a.privilege_type || g.suffix, ', '),
              g.x, a.who, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END),
       format('REVOKE %s ON TABLE %s FROM %s', string_agg(a.privilege_type || g.suffix, ', '),
              g.x, a.who), NULL::bigint
FROM (
    SELECT oid, x, relowner, relacl AS acl, NULL AS attname, '' AS suffix, NULL::text[] AS columns
    FROM rel WHERE relacl IS NOT NULL
  UNION ALL
    SELECT rel.oid, x, relowner, attacl, attname, format(' (%I)', attname), ARRAY[attname::text]
    FROM rel JOIN pg_attribute ON attrelid = rel.oid
    WHERE attacl IS NOT NULL AND NOT attisdropped
) g
CROSS JOIN LATERAL (
    SELECT grantee, privilege_type, is_grantable,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS who
    FROM aclexplode(g.acl) WHERE grantee <> g.relowner ORDER BY privilege_type
) a
GROUP BY g.oid, g.x, g.attname, g.columns, a.grantee, a.who, a.is_grantable
UNION ALL
SELECT rel.oid::bigint, 'revoked', '', NULL,
       format('REVOKE %s ON TABLE %s FROM %I', string_agg(d.privilege_type, ', '), x, owner),
       format('GRANT %s ON TABLE %s TO %I', string_agg(d.privilege_type, ', '), x, owner), NULL::bigint
FROM rel CROSS JOIN LATERAL (
    SELECT privilege_type FROM aclexplode(acldefault('r', relowner)) EXCEPT
    SELECT privilege_type FROM aclexplode(relacl) WHERE grantee = relowner
) d
WHERE relacl IS NOT NULL GROUP BY rel.oid, x, owner
