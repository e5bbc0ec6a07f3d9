WITH lacking AS (
    SELECT 'database' AS kind, NULL AS schema, datname::text AS name, datdba AS owner,
           array_remove(ARRAY[
               CASE WHEN NOT has_database_privilege(oid, 'CREATE') THEN 'CREATE' END,
               CASE WHEN NOT has_database_privilege(oid, 'TEMPORARY') THEN 'TEMPORARY' END
           ], NULL) AS rights
    FROM pg_database WHERE datname = current_database()
  UNION ALL
    SELECT 'tablespace', NULL, spcname::text, spcowner,
           CASE WHEN NOT has_tablespace_privilege(oid, 'CREATE') THEN ARRAY['CREATE'] ELSE '{}' END
    FROM pg_tablespace
  UNION ALL
    SELECT 'schema', NULL, nspname::text, nspowner, array_remove(ARRAY[
               CASE WHEN NOT has_schema_privilege(oid, 'USAGE') THEN 'USAGE' END,
               CASE WHEN NOT has_schema_privilege(oid, 'CREATE') THEN 'CREATE' END
           ], NULL)
    FROM pg_namespace
  UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
                          WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
           n.nspname::text, c.relname::text, c.relowner,
           CASE WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN ARRAY['of its owner']
                ELSE ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
                           WHERE NOT has_table_privilege(c.oid, p)) END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND position(n.nspname IN :statement) > 0
)
SELECT l.kind, l.schema, l.name, l.rights, r.rolname AS owner, r.rolsuper AS owner_is_superuser,
       pg_has_role(l.owner, 'USAGE') AS is_own
FROM lacking l JOIN pg_roles r ON r.oid = l.owner
WHERE rights <> '{}' AND position(name IN :message) > 0
ORDER BY right(:message, length(kind) + length(name) + 1) = kind || ' ' || name DESC,
         right(:message, length(name)) = name DESC, length(name) DESC
LIMIT 1
