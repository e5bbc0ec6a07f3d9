-- kind: option; step 14; at once
-- kind: replica identity; step 63; reversible
-- kind: row security; step 86; reversible; never left out
-- where: reloptions IS NOT NULL
--        OR (SELECT toast.reloptions IS NOT NULL FROM pg_class toast WHERE toast.oid = c.reltoastrelid)
--        OR relreplident IN ('f', 'i') OR relrowsecurity
--        OR relforcerowsecurity OR relreplident = 'n' AND relkind = 'r'
SELECT rel.oid::bigint, 'option', place || option, NULL::text[],
       format('ALTER TABLE %s SET (%s%I = %L)', x, place, option, value),
       format('ALTER TABLE %s RESET (%s%I)', x, place, option), NULL::bigint
FROM rel LEFT JOIN pg_class toast ON toast.oid = rel.reltoastrelid
CROSS JOIN LATERAL (
    SELECT place, split_part(o, '=', 1) AS option, substr(o, strpos(o, '=') + 1) AS value
    FROM (SELECT '' AS place, unnest(rel.reloptions) AS o
          UNION ALL SELECT 'toast.', unnest(toast.reloptions)) AS every
) AS options
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
