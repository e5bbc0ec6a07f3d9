WITH RECURSIVE own AS (
    SELECT attnum, attname, atttypid, atttypmod, attcollation, attnotnull
    FROM pg_attribute
    WHERE attrelid = {relation}::regclass AND attnum > 0 AND NOT attisdropped
), parts(top, oid) AS (
    SELECT DISTINCT atttypid, atttypid FROM own
    UNION
    SELECT p.top, inner_one.oid FROM parts p JOIN pg_type t ON t.oid = p.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype WHERE t.typtype = 'd'
        UNION ALL
        SELECT t.typelem WHERE t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0
        UNION ALL
        SELECT a.atttypid FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
    ) inner_one(oid)
), leaves AS (
    SELECT p.top, t.typname,
           t.typtype IN ('e', 'r', 'm') OR EXISTS (
               SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
               WHERE o.opcdefault AND m.amname = 'btree' AND (
                   o.opcintype = t.oid OR EXISTS (
                       SELECT FROM pg_cast c WHERE c.castsource = t.oid
                       AND c.casttarget = o.opcintype
                       AND c.castmethod = 'b' AND c.castcontext = 'i'
                   )
               )
           ) AS has_equality
    FROM parts p JOIN pg_type t ON t.oid = p.oid
    WHERE NOT (t.typtype IN ('d', 'c') OR t.typtype = 'b' AND t.typcategory = 'A' AND t.typelem <> 0)
), bases(top, oid, depth) AS (
    SELECT DISTINCT atttypid, atttypid, 0 FROM own
    UNION ALL
    SELECT b.top, t.typbasetype, b.depth + 1
    FROM bases b JOIN pg_type t ON t.oid = b.oid WHERE t.typtype = 'd'
)
SELECT o.attname::text, format_type(o.atttypid, o.atttypmod), o.attnotnull,
       CASE WHEN o.attcollation = 0 THEN NULL ELSE o.attcollation::bigint END,
       (SELECT t.typname::text FROM bases b JOIN pg_type t ON t.oid = b.oid
        WHERE b.top = o.atttypid ORDER BY b.depth DESC LIMIT 1),
       (SELECT t.typtype = 'e' FROM bases b JOIN pg_type t ON t.oid = b.oid
        WHERE b.top = o.atttypid ORDER BY b.depth DESC LIMIT 1),
       coalesce((SELECT bool_and(has_equality) FROM leaves l WHERE l.top = o.atttypid), true),
       ARRAY(SELECT DISTINCT n.nspname::text FROM parts p JOIN pg_type t ON t.oid = p.oid
             JOIN pg_namespace n ON n.oid = t.typnamespace
             WHERE p.top = o.atttypid AND n.nspname <> 'pg_catalog')
FROM own o ORDER BY o.attnum
