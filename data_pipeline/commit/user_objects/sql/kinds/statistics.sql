-- kind: statistics; step 70; taken off
-- catalog: pg_statistic_ext
SELECT rel.oid::bigint, 'statistics', stxname, columns,
       concat_ws('; ', pg_get_statisticsobjdef(s.oid),
           format('ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, stxname,
                  pg_get_userbyid(stxowner)),
           CASE WHEN stxstattarget >= 0
                THEN format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, stxname,
                            stxstattarget) END,
           format('COMMENT ON STATISTICS %I.%I IS ', n.nspname, stxname)
           || quote_literal(obj_description(s.oid, 'pg_statistic_ext'))),
       format('DROP STATISTICS %I.%I', n.nspname, stxname), s.oid::bigint
FROM rel
JOIN pg_statistic_ext s ON stxrelid = rel.oid
JOIN pg_namespace n ON n.oid = stxnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(attname::text) AS columns FROM pg_attribute
    WHERE attrelid = rel.oid AND attnum = ANY (stxkeys)
) k
