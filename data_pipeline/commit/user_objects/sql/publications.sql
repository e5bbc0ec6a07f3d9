SELECT rel.oid::bigint, 'publication', pubname, NULL::text[],
       format('ALTER PUBLICATION %I ADD TABLE ONLY %s', pubname, x)
       || coalesce((SELECT ' (' || string_agg(quote_ident(attname), ', ') || ')' FROM pg_attribute
                    WHERE attrelid = rel.oid AND attnum = ANY (prattrs)), '')
       || coalesce(' WHERE (' || pg_get_expr(prqual, prrelid) || ')', ''),
       format('ALTER PUBLICATION %I DROP TABLE ONLY %s', pubname, x)
FROM rel
JOIN pg_publication_rel ON prrelid = rel.oid
JOIN pg_publication p ON p.oid = prpubid
