SELECT n.nspname, i.relname, left(i.relname, 50) || '_' || i.oid
FROM unnest(ARRAY[{names}], ARRAY[{schemas}]) AS pair(name, schema)
JOIN pg_index x ON x.indrelid = to_regclass(pair.name)
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
WHERE EXISTS (
    SELECT FROM pg_class other
    WHERE other.relname = i.relname AND other.relnamespace = to_regnamespace(pair.schema)
)
