SELECT rel.oid::bigint, 'option', split_part(o, '=', 1), NULL,
       format('ALTER TABLE %s SET (%I = %L)', x, split_part(o, '=', 1),
              substr(o, strpos(o, '=') + 1)),
       format('ALTER TABLE %s RESET (%I)', x, split_part(o, '=', 1))
FROM rel CROSS JOIN LATERAL unnest(reloptions) o
UNION ALL
SELECT rel.oid::bigint, 'replica identity', '', i.columns,
       format('ALTER TABLE %s REPLICA IDENTITY %s', x, CASE relreplident
              WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE format('USING INDEX %I', name) END),
       format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', x)
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
       format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', x)
FROM rel WHERE relrowsecurity OR relforcerowsecurity
