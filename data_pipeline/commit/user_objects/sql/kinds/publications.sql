-- kind: publication; step 90; taken off
-- catalog: pg_publication_rel
SELECT rel.oid::bigint, 'publication', pubname, NULL::text[],
       format('ALTER PUBLICATION %I ADD TABLE ONLY %s', pubname, x)
       || coalesce((SELECT ' (' || string_agg(quote_ident(attname), ', ') || ')' FROM pg_attribute
                    WHERE attrelid = rel.oid AND attnum = ANY (listed.prattrs)), '')
       || coalesce(' WHERE (' || pg_get_expr(listed.prqual, listed.prrelid) || ')', ''),
       format('ALTER PUBLICATION %I DROP TABLE ONLY %s', pubname, x), NULL::bigint
FROM rel
-- Where pg_publication_rel lacks a column (before PostgreSQL 15), its name means the one outside.
CROSS JOIN (SELECT NULL::int2vector AS prattrs, NULL::pg_node_tree AS prqual) before_15
CROSS JOIN LATERAL (SELECT prpubid, prrelid, prattrs, prqual FROM pg_publication_rel) listed
JOIN pg_publication p ON p.oid = listed.prpubid
WHERE listed.prrelid = rel.oid
