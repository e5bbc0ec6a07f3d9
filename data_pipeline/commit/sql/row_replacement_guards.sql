SELECT format('foreign key %I of table %s (role %I)', conname, conrelid::regclass,
              pg_get_userbyid(relowner)),
       'would change or delete rows of that table', event,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = confrelid
             AND attnum = ANY (confkey))
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
CROSS JOIN LATERAL (SELECT 'DELETE' AS event WHERE confdeltype IN ('c', 'n', 'd')
                    UNION ALL SELECT 'KEY' WHERE confupdtype IN ('c', 'n', 'd')) e
WHERE confrelid = {relation}::regclass AND contype = 'f'
UNION ALL
SELECT format('trigger %I', tgname), 'would fire', event, NULL
FROM pg_trigger
JOIN (VALUES (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE')) e(bit, event) ON tgtype & bit > 0
WHERE tgrelid = {relation}::regclass AND NOT tgisinternal AND tgenabled IN ('O', 'A')
UNION ALL
SELECT format('rule %I', rulename), 'would act', event, NULL
FROM pg_rewrite
JOIN (VALUES ('2', 'UPDATE'), ('3', 'INSERT'), ('4', 'DELETE')) e(kind, event) ON ev_type = kind
WHERE ev_class = {relation}::regclass AND ev_enabled IN ('O', 'A')
UNION ALL
SELECT format('publication %I', pubname),
       'cannot publish it, for the table has no replica identity (a primary key, or ALTER TABLE '
       '... REPLICA IDENTITY FULL)', event, NULL
FROM pg_publication_tables t JOIN pg_publication p USING (pubname)
JOIN pg_class c ON c.oid = {relation}::regclass AND c.relname = t.tablename
    AND c.relnamespace::regnamespace::text = quote_ident(t.schemaname)
CROSS JOIN LATERAL (SELECT 'UPDATE' AS event WHERE pubupdate
                    UNION ALL SELECT 'DELETE' WHERE pubdelete) e
WHERE NOT (relreplident = 'f'
           OR relreplident = 'i' AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid
                                             AND indisreplident)
           OR relreplident = 'd' AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid
                                             AND indisprimary))
