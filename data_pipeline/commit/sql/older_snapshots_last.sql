SELECT writer, max(s.built_at) OVER () AS built
FROM {staged} s
JOIN pg_class c ON c.oid = {relation}
CROSS JOIN LATERAL (
    SELECT s.relation ->> 'writer' AS writer WHERE jsonb_typeof(s.relation -> 'writer') = 'string'
  UNION ALL
    SELECT jsonb_array_elements_text(s.relation -> 'writer')
    WHERE jsonb_typeof(s.relation -> 'writer') = 'array'
  UNION ALL
    SELECT c.xmin::text WHERE coalesce(jsonb_typeof(s.relation -> 'writer'), 'null') = 'null'
) w
WHERE s.owner = {run_id} AND s.stage IN ({stages}) AND s.kind = 'table' AND s.row_count > 0
  AND {replaced} IS NOT NULL
  AND coalesce(s.stage || '/' || s.name NOT IN ({stays}), true)
ORDER BY age(CAST(writer AS xid)) LIMIT 1
