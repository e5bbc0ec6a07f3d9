-- The relations that hold the rows of a table: itself, its partitions, and what inherits from it.
-- `is_cut`: whether pages of it can be read alone, by a role that sees all of its rows.
WITH RECURSIVE members(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name
  UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN members ON i.inhparent = members.oid
)
SELECT n.nspname AS schema, c.relname AS name, c.oid::bigint AS oid, c.relkind = 'p' AS is_parent,
    pg_relation_filenode(c.oid)::bigint AS file,
    pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages,
    pg_table_size(c.oid) AS bytes,
    NOT row_security_active(c.oid) AND (
        c.relkind = 'p'
        OR c.relkind IN ('r', 'm') AND has_table_privilege(c.oid, 'SELECT')
            AND (SELECT amname FROM pg_am WHERE pg_am.oid = c.relam) = 'heap'
    ) AS is_cut
FROM members JOIN pg_class c ON c.oid = members.oid JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY n.nspname, c.relname
