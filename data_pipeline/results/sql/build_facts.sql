json_build_object(
    'columns', (
        SELECT json_agg(json_build_array(
            attname, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)
        ) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = {relation} AND attnum > 0 AND NOT attisdropped
    ),
    'bytes', pg_total_relation_size({relation}),
    'is_hidden', row_security_active({relation})
)
