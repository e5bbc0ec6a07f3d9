SELECT n.nspname AS schema, has_schema_privilege(r.oid, n.oid, 'USAGE') AS has_usage,
       ARRAY(SELECT c.relname::text FROM pg_class c
             WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
               AND (c.relowner = m.oid OR n.nspname || '.' || c.relname = ANY (:committed)
                    AND pg_has_role(c.relowner, 'USAGE'))
               AND NOT has_table_privilege(r.oid, c.oid, 'SELECT') ORDER BY 1) AS relations
FROM pg_roles r JOIN pg_roles m ON m.rolname = current_user
LEFT JOIN pg_namespace n ON n.nspname = ANY (:schemas)
WHERE r.rolname = :role
ORDER BY 1
