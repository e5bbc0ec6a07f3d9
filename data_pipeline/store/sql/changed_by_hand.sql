(SELECT json_build_object(
    'database', (SELECT system_identifier FROM pg_control_system())::text || '/'
        || (SELECT oid FROM pg_database WHERE datname = current_database())::text,
    'oid', of_state.oid::bigint,
    'kind', of_state.relkind,
    'file', of_state.relfilenode::bigint,
    'heirs', EXISTS (SELECT FROM pg_inherits WHERE inhparent = of_state.oid),
    'attached', of_state.relispartition,
    'columns', described.columns,
    'since', (
        SELECT concat_ws(' ', pg_stat_get_bgwriter_stat_reset_time(),
                         pg_stat_get_db_stat_reset_time(oid))
        FROM pg_database WHERE datname = current_database()
    ),
    'inserted', pg_stat_get_tuples_inserted(of_state.oid),
    'updated', pg_stat_get_tuples_updated(of_state.oid),
    'deleted', pg_stat_get_tuples_deleted(of_state.oid),
    'rule', (
        SELECT xmin::text FROM pg_rewrite WHERE ev_class = of_state.oid AND rulename = '_RETURN'
    ),
    'shows', (
        SELECT string_agg(DISTINCT shown.relnamespace::regnamespace || '.' || shown.relname, ',')
        FROM pg_rewrite JOIN pg_depend ON classid = 'pg_rewrite'::regclass
             AND objid = pg_rewrite.oid AND refclassid = 'pg_class'::regclass
        JOIN pg_class shown ON shown.oid = refobjid
        WHERE ev_class = of_state.oid AND rulename = '_RETURN' AND refobjid <> of_state.oid
    ),
    'pages', of_state.relpages::bigint & 4294967295 -- shown as less than 0 above 16 TB
)
FROM pg_class of_state, LATERAL (
    SELECT hashtextextended(
               string_agg(attname || ' ' || atttypid || ' ' || atttypmod, ',' ORDER BY attnum), 0
           )::text AS columns
    FROM pg_attribute
    WHERE attrelid = of_state.oid AND attnum > 0 AND NOT attisdropped
) described
WHERE of_state.oid = {relation})
