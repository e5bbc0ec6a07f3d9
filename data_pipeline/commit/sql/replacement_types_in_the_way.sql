WITH staged AS (
    SELECT c.relname, n.nspname AS schema, target.oid, target.nspname AS target, own.typarray
    FROM unnest(ARRAY[{names}], ARRAY[{schemas}]) AS pair(name, schema)
    JOIN pg_class c ON c.oid = to_regclass(pair.name)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type own ON own.oid = c.reltype
    JOIN pg_namespace target ON target.oid = to_regnamespace(pair.schema)
)
SELECT s.schema, mine.typname FROM staged s JOIN pg_type mine ON mine.oid = s.typarray
WHERE EXISTS (
    SELECT FROM pg_type other WHERE other.typname = mine.typname AND other.typnamespace = s.oid
)
UNION ALL
SELECT s.target, s.relname FROM staged s
JOIN pg_type other ON other.typname = s.relname AND other.typnamespace = s.oid
WHERE EXISTS (SELECT FROM pg_type element WHERE element.typarray = other.oid)
