-- kind: rule; step 75; taken off
-- catalog: pg_rewrite
SELECT c.oid::bigint, 'rule', rulename, NULL::text[],
       concat_ws('; ', rtrim(pg_get_ruledef(r.oid), ';'),
           CASE ev_enabled WHEN 'D' THEN format('ALTER TABLE %s DISABLE RULE %I', x, rulename)
                WHEN 'R' THEN format('ALTER TABLE %s ENABLE REPLICA RULE %I', x, rulename)
                WHEN 'A' THEN format('ALTER TABLE %s ENABLE ALWAYS RULE %I', x, rulename) END,
           format('COMMENT ON RULE %I ON %s IS ', rulename, x)
           || quote_literal(obj_description(r.oid, 'pg_rewrite'))),
       format('DROP RULE %I ON %s', rulename, x), r.oid::bigint
FROM pg_rewrite r
JOIN every c ON c.oid = ev_class
WHERE rulename <> '_RETURN'
  AND (c.inside OR r.oid = ANY ({others}))
