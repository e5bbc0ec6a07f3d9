WITH staged AS (
    SELECT {columns}, {schema} AS schema FROM {staged} s
    WHERE owner = :run_id AND stage = ANY (:stages)
), committed AS (
    SELECT {columns}, {schema} AS schema FROM {tables} s
)
SELECT {columns}, true AS is_staged, to_regnamespace(quote_ident(schema)) IS NOT NULL AS has_schema,
       NULL AS state
FROM staged
UNION ALL
SELECT {columns}, false, true, {state} FROM committed c
WHERE EXISTS (
    SELECT FROM staged s WHERE s.stage = c.stage AND s.name = c.name
       OR s.schema || '.' || s.name = c.location AND c.kind = 'view'
       OR s.location = c.schema || '.' || c.name AND s.kind = 'view'
)
