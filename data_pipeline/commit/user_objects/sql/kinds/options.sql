-- kind: option; step 14; at once
-- kind: replica identity; step 63; reversible
-- kind: row security; step 86; reversible; never left out
-- where: reloptions IS NOT NULL OR relreplident IN ('f', 'i') OR relrowsecurity
--        OR relforcerowsecurity OR relreplident = 'n' AND relkind = 'r'
SELECT rel.oid::bigint, 'option', split_part(o, '=', 1), NULL,
       format('ALTER TABLE %s SET (%I = %L)', x, split_part(o, '=', 1),
              substr(o, strpos(o, '=') + 1)),
       format('ALTER TABLE %s RESET (%I)', x, split_part(o, '=', 1)), NULL::bigint
FROM rel CROSS JOIN LATERAL unnest(reloptions) o
UNION ALL
SELECT rel.oid::bigint, 'replica identity', '', i.columns,
       format('ALTER TABLE %s REPLICA IDENTITY %s', x, CASE relreplident
              WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE format('USING INDEX %I', name) END),
       format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', x), NULL::bigint
FROM rel
LEFT JOIN LATERAL (
    SELECT c.relname AS name, array_agg(a.attname::text) AS columns
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    JOIN pg_attribute a ON a.attrelid = indexrelid
    WHERE indrelid = rel.oid AND indisreplident GROUP BY c.relname
) i ON true
WHERE relkind = 'r' AND relreplident IN ('f', 'n') OR name IS NOT NULL
UNION ALL
SELECT oid::bigint, 'row security', '', NULL,
       concat_ws('; ', CASE WHEN relrowsecurity
                       THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', x) END,
                       CASE WHEN relforcerowsecurity
                       THEN format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', x) END),
       format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', x), NULL::bigint
FROM rel WHERE relrowsecurity OR relforcerowsecurity
