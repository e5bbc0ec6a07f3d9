WITH RECURSIVE step AS (
    SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) AS declared,
           a.atttypid AS type, a.atttypmod AS modifier, false AS is_array, 0 AS depth
    FROM pg_attribute a
    WHERE a.attrelid = (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = $2::text
    ) AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
    SELECT s.attnum, s.attname, s.declared,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END,
           CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE s.modifier END,
           s.is_array OR t.typtype <> 'd', s.depth + 1
    FROM step s JOIN pg_type t ON t.oid = s.type
    WHERE t.typtype = 'd' OR (t.typinput = 'array_in'::regproc AND NOT s.is_array)
)
SELECT DISTINCT ON (s.attnum) s.attname::text, s.declared, t.typname::text, s.modifier, s.is_array
FROM step s JOIN pg_type t ON t.oid = s.type
ORDER BY s.attnum, s.depth DESC
