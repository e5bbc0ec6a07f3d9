-- The tables of a schema with columns and keys, as one text of JSON each. Columns are told in types
-- that every PostgreSQL has: domains as what they stand on; enums, types of extensions and xml
-- (which some servers are built without) as text.
WITH RECURSIVE standing(type, base, modifier, depth) AS (
    SELECT oid, oid, -1, 0 FROM pg_catalog.pg_type
  UNION ALL
    SELECT s.type, t.typbasetype, t.typtypmod, s.depth + 1
    FROM standing s JOIN pg_catalog.pg_type t ON t.oid = s.base WHERE t.typtype = 'd'
), base AS (
    SELECT DISTINCT ON (type) type, base, modifier, depth > 0 AS is_domain
    FROM standing ORDER BY type, depth DESC
), plain AS (
    SELECT t.oid AS type,
        CASE
            WHEN t.typname = 'money' AND n.nspname = 'pg_catalog' THEN 'numeric'::regtype::oid
            WHEN n.nspname = 'pg_catalog' AND t.typtype IN ('b', 'r', 'm')
                AND t.typname !~ '^(reg|xml$|aclitem|pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv)'
                THEN t.oid
            ELSE 'text'::regtype::oid
        END AS plain
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
), found AS (
    SELECT a.attrelid, a.attnum, a.attname, a.attnotnull,
        pg_catalog.format_type(a.atttypid, a.atttypmod) AS source_type,
        t.typinput = 'pg_catalog.array_in'::regproc AS is_array,
        CASE WHEN b.is_domain THEN b.modifier ELSE a.atttypmod END AS modifier,
        CASE WHEN t.typinput = 'pg_catalog.array_in'::regproc THEN e.base ELSE b.base END AS base,
        e.modifier AS of_element, coalesce(e.is_domain, false) AS is_domain
    FROM pg_catalog.pg_attribute a
    JOIN base b ON b.type = a.atttypid
    JOIN pg_catalog.pg_type t ON t.oid = b.base
    LEFT JOIN base e ON e.type = t.typelem
    WHERE a.attnum > 0 AND NOT a.attisdropped
), columns AS (
    SELECT f.attrelid, json_agg(json_build_object(
        'name', f.attname,
        'type', pg_catalog.format_type(p.plain, CASE
                WHEN p.plain <> f.base THEN -1
                WHEN f.is_array AND f.is_domain THEN f.of_element
                ELSE f.modifier
            END) || CASE WHEN f.is_array THEN '[]' ELSE '' END,
        'source_type', f.source_type,
        'not_null', f.attnotnull,
        'comment', pg_catalog.col_description(f.attrelid, f.attnum)
    ) ORDER BY f.attnum) AS columns
    FROM found f JOIN plain p ON p.type = f.base
    GROUP BY f.attrelid
), keys AS (
    SELECT c.conrelid, c.oid, c.contype, c.conname, r.relname AS referenced, r.relnamespace,
        ARRAY(
            SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY AS k(number, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
            ORDER BY k.place
        ) AS own,
        ARRAY(
            SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY AS k(number, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number
            ORDER BY k.place
        ) AS others
    FROM pg_catalog.pg_constraint c LEFT JOIN pg_catalog.pg_class r ON r.oid = c.confrelid
    -- Those of a period (PostgreSQL 18) compare ranges otherwise than by equality.
    WHERE c.contype = 'p'
       OR (c.contype = 'f' AND c.conparentid = 0
           AND NOT coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false))
)
SELECT json_build_object(
    'name', c.relname,
    'kind', CASE c.relkind
        WHEN 'r' THEN CASE
            WHEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)
            THEN 'table that others inherit from' ELSE 'table' END
        WHEN 'p' THEN 'partitioned table' WHEN 'f' THEN 'foreign table'
        WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
    END,
    'comment', pg_catalog.obj_description(c.oid, 'pg_class'),
    'columns', coalesce(columns.columns, '[]'),
    'primary_key', (SELECT own FROM keys k WHERE k.conrelid = c.oid AND k.contype = 'p'),
    'foreign_keys', (
        SELECT json_agg(json_build_object(
            'columns', k.own, 'references', k.referenced, 'referenced_columns', k.others
        ) ORDER BY k.conname)
        FROM keys k
        WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.relnamespace = c.relnamespace
    ),
    'has_foreign', EXISTS (
        WITH RECURSIVE members(oid) AS (
            SELECT c.oid
          UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN members ON i.inhparent = members.oid
        )
        SELECT FROM members m JOIN pg_catalog.pg_class f ON f.oid = m.oid WHERE f.relkind = 'f'
    ),
    'standby', pg_catalog.pg_is_in_recovery()
)::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN columns ON columns.attrelid = c.oid
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'f', 'v', 'm') AND NOT c.relispartition
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
  AND (CAST(:name AS text) IS NULL OR c.relname = :name)
ORDER BY c.relname
