SELECT
    (
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {schema} AND lower(c.relname) = lower({name}) AND c.relname <> {name}
          AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
        LIMIT 1
    ) AS other_case,
    (
        SELECT CASE
            WHEN (SELECT oid FROM pg_namespace WHERE nspname = {staging})
                < (SELECT oid FROM pg_namespace WHERE nspname = {catalog})
            THEN 'lost' ELSE c.relkind::text END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {schema} AND c.relname = {name} AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
          AND NOT EXISTS (SELECT FROM {tables} WHERE stage = {stage} AND name = {name})
    ) AS unknown,
    EXISTS (SELECT FROM {runs} WHERE run_id = {run_id} AND NOT is_buried) AS is_alive,
    EXISTS (SELECT FROM pg_namespace WHERE nspname = {staging}) AS has_schema,
    to_regclass({relation}) IS NOT NULL OR EXISTS (
        SELECT FROM {staged} WHERE stage = {stage} AND name = {name}
    ) AS is_taken,
    (SELECT json_agg(json_build_array(stage, name, coalesce(increment ? 'onto', false)))
     FROM {staged}
     WHERE owner = {run_id} AND kind IN ('table', 'view')) AS own_relations,
    EXISTS (SELECT FROM {tables} WHERE stage = {stage} AND name = {name}) AS is_committed,
    (SELECT query_key FROM {tables} WHERE stage = {stage} AND name = {name}) AS query_key,
    (SELECT json_build_object(
        'row_count', row_count, 'data_version', data_version,
        'primary_key', properties -> 'primary_key',
        'columns', (
            SELECT json_agg(json_build_array(attname, format_type(atttypid, atttypmod)))
            FROM pg_attribute
            WHERE attrelid = to_regclass({committed}) AND attnum > 0 AND NOT attisdropped
        )
    ) FROM {tables} WHERE stage = {stage} AND name = {name} AND kind = 'table') AS before
