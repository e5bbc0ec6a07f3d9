SELECT slot.name FROM unnest(CAST(:names AS text[])) AS slot(name)
WHERE EXISTS (
    SELECT FROM pg_class c JOIN pg_depend d ON d.deptype = 'n'
     AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
          OR d.refclassid = 'pg_type'::regclass AND d.refobjid = c.reltype)
    WHERE c.oid = to_regclass(slot.name) AND NOT EXISTS (
        SELECT FROM pg_depend own
        WHERE own.classid = d.classid AND own.objid = d.objid
          AND own.refclassid = 'pg_class'::regclass AND own.refobjid = c.oid
          AND own.deptype IN ('a', 'i', 'P', 'S')
    )
)
