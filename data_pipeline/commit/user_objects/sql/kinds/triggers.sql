-- kind: trigger; step 80; taken off
-- catalog: pg_trigger
SELECT c.oid::bigint, 'trigger', tgname, NULL::text[],
       concat_ws('; ', pg_get_triggerdef(t.oid),
           CASE tgenabled WHEN 'D' THEN format('ALTER TABLE %s DISABLE TRIGGER %I', x, tgname)
                WHEN 'R' THEN format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', x, tgname)
                WHEN 'A' THEN format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', x, tgname) END,
           format('COMMENT ON TRIGGER %I ON %s IS ', tgname, x)
           || quote_literal(obj_description(t.oid, 'pg_trigger'))),
       format('DROP TRIGGER %I ON %s', tgname, x), t.oid::bigint
FROM pg_trigger t
JOIN every c ON c.oid = tgrelid
WHERE NOT tgisinternal AND tgparentid = 0  -- of a slice, those of its table come by themselves
  AND (c.inside OR t.oid = ANY ({others}))
