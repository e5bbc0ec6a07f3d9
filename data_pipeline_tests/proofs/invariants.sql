-- What must hold, as queries that give one line of text for each thing that breaks it.
--
-- `always` is checked at any moment, whatever runs or was killed (the caller keeps commits away
-- meanwhile); `whole` as well, unless somebody ran parts of the pipeline only; `finished` after a
-- run of the whole pipeline that succeeded. :instance is the id of an instance, :generation that of
-- the last run. pg_temp.answer(query) gives the one value of a query, pg_temp.relations the tables
-- and views in the instance's stages, pg_temp.generations what their rows say.

-- setup: the functions and tables that the queries below use
CREATE FUNCTION pg_temp.answer(query text) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE found text; BEGIN EXECUTE query INTO found; RETURN found; END $body$;

CREATE TEMPORARY VIEW relations AS
SELECT n.nspname::text AS schema, c.relname::text AS name, c.oid, c.relkind::text AS kind,
    substr(n.nspname::text, length(:instance) + 2) AS stage
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE starts_with(n.nspname::text, :instance || '_') AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
    AND n.nspname NOT LIKE '%\_\_%' AND n.nspname::text <> ALL (:own_schemas);

CREATE TEMPORARY VIEW generations AS
WITH telling AS MATERIALIZED (
    SELECT r.* FROM relations r
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = 'generation'
)
SELECT r.stage, r.name, g.generation::bigint AS generation
FROM telling r CROSS JOIN LATERAL unnest(string_to_array(pg_temp.answer(
    format('SELECT string_agg(DISTINCT generation::text, '','') FROM %I.%I', r.schema, r.name)
), ',')) AS g (generation);

-- always: every table and view in the catalog is there (but those that were dropped by hand)
SELECT t.stage || '/' || t.name
FROM {catalog}.tables t LEFT JOIN relations r ON r.stage = t.stage AND r.name = t.name
WHERE t.kind IN ('table', 'view') AND r.oid IS NULL AND t.stage || '/' || t.name <> ALL (:dropped);

-- always: every table and view has as many rows as the catalog says
SELECT format('%s/%s has %s rows instead of %s', t.stage, t.name, n.rows, t.row_count)
FROM {catalog}.tables t JOIN relations r ON r.stage = t.stage AND r.name = t.name
CROSS JOIN LATERAL pg_temp.answer(format('SELECT count(*) FROM %I.%I', r.schema, r.name)) n (rows)
WHERE t.kind IN ('table', 'view') AND n.rows::bigint IS DISTINCT FROM t.row_count;

-- always: a table with slices has the rows of all of them
SELECT format('%s/%s has %s rows instead of %s', t.stage, t.name, n.rows, t.row_count)
FROM {catalog}.tables t JOIN relations r ON r.stage = t.stage AND r.name = t.name
CROSS JOIN LATERAL pg_temp.answer(format('SELECT count(*) FROM %I.%I', r.schema, r.name)) n (rows)
WHERE t.kind = 'sliced' AND n.rows::bigint IS DISTINCT FROM t.row_count
    AND NOT EXISTS (SELECT FROM unnest(CAST(:dropped AS text[])) d
                    WHERE starts_with(d, format('%s/%s@', t.stage, t.name)));

-- always: every slice is a partition of its table, and has the rows of one generation
SELECT format('%s/%s: %s', t.stage, t.name, n.made)
FROM {catalog}.tables t JOIN relations r ON r.stage = t.stage AND r.name = t.name
LEFT JOIN pg_inherits i ON i.inhrelid = r.oid
LEFT JOIN pg_class whole ON whole.oid = i.inhparent AND whole.relname = split_part(t.name, '@', 1)
CROSS JOIN LATERAL pg_temp.answer(format(
    'SELECT string_agg(DISTINCT made::text, '','') FROM %I.%I', r.schema, r.name)) n (made)
WHERE t.slice ->> 'key' IS NOT NULL AND (whole.oid IS NULL OR n.made LIKE '%,%');

-- always: every relation in a stage is in the catalog, or somebody's own
SELECT format('%s.%s', r.schema, r.name)
FROM relations r LEFT JOIN {catalog}.tables t ON r.stage = t.stage AND r.name = t.name
WHERE t.name IS NULL AND NOT starts_with(r.name, 'analyst_');

-- always: no blob in the catalog is a relation too
SELECT format('%s.%s', r.schema, r.name)
FROM relations r JOIN {catalog}.tables t ON r.stage = t.stage AND r.name = t.name
WHERE t.kind = 'blob';

-- always: every kept version is there, and every relation among the kept ones is listed
SELECT coalesce(s.stage || '/' || s.name, n.nspname || '.' || c.relname)
FROM (SELECT * FROM {catalog}.slots WHERE kind = 'table') s
FULL JOIN (
    pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND c.relkind IN ('r', 'v', 'm')
        AND n.nspname LIKE :instance || '\_%\_\_slots'
) ON n.nspname = :instance || '_' || s.stage || '__slots' AND c.relname = s.cache_key
WHERE s.name IS NULL OR c.relname IS NULL;

-- always: what users built on tables is there, and those may read it who were allowed to
SELECT format('%s %s for %s', e.kind, e.name, e.reader) FROM reports.expected e
WHERE CASE e.kind
    WHEN 'function' THEN to_regprocedure(e.name) IS NULL
    WHEN 'comment' THEN obj_description(to_regclass(e.name), 'pg_class') IS DISTINCT FROM e.text
    WHEN 'grant' THEN
        NOT coalesce(has_table_privilege(e.reader, to_regclass(e.name), 'SELECT'), false)
END;

-- always: nobody may read what nobody allowed
SELECT format('%s may read %s', e.reader, e.name) FROM reports.expected e
WHERE e.kind = 'revoked' AND has_table_privilege(e.reader, to_regclass(e.name), 'SELECT');

-- always: a table that grows has each of its increments once
SELECT format('%s/%s has the rows %s after %s increments', t.stage, t.name, n.rows,
              t.increment ->> 'number')
FROM {catalog}.tables t JOIN relations r ON r.stage = t.stage AND r.name = t.name
CROSS JOIN LATERAL pg_temp.answer(format(
    'SELECT count(*) || '' '' || count(DISTINCT number) FROM %I.%I', r.schema, r.name)) n (rows)
WHERE t.name = 'journal'
    AND n.rows <> format('%1$s %1$s', (t.increment ->> 'number')::bigint + 1);

-- always: no result was made from inputs of several generations
SELECT stage || '/' || name FROM generations WHERE generation = -1;

-- whole: the tables of a stage have one generation
SELECT format('%s: %s', stage, string_agg(DISTINCT name || ' of ' || generation, ', '))
FROM generations GROUP BY stage HAVING count(DISTINCT generation) > 1;

-- whole: a table that grows has come to the generation of its stage
SELECT format('%s lacks %s', r.name, min(g.generation))
FROM relations r JOIN generations g USING (stage)
WHERE r.name = 'journal' GROUP BY r.schema, r.name
HAVING pg_temp.answer(format('SELECT count(*) FROM %I.%I WHERE number = %s',
                             r.schema, r.name, min(g.generation))) = '0';

-- whole: stages that read from each other have one generation
SELECT string_agg(DISTINCT stage || '/' || name || ' of ' || generation, ', ')
FROM generations WHERE stage IN ('ping', 'pong') HAVING count(DISTINCT generation) > 1;

-- finished: nothing is left in staging
SELECT format('%s.%s', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname LIKE :instance || '\_%\_\_staging';

-- finished: no table is listed as staged
SELECT format('%s/%s', stage, name) FROM {catalog}.staged;

-- finished: no run is listed as running
SELECT r::text FROM {catalog}.runs r;

-- finished: no session holds the lock of a stage
SELECT format('%s: %s, %s', s.schema, a.application_name, a.query)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
JOIN (SELECT DISTINCT :instance || '_' || stage AS schema FROM {catalog}.tables) s
    ON (l.classid::bigint << 32 | l.objid::bigint)
        = hashtextextended('data_pipeline:stage:' || s.schema, 0)
WHERE l.locktype = 'advisory' AND a.datname = current_database();

-- finished: every result was computed from what is committed (slices have runs of their own)
SELECT format('%s/%s read another version of %s', t.stage, t.name, i.key)
FROM {catalog}.tables t CROSS JOIN LATERAL jsonb_each_text(t.inputs) i
JOIN {catalog}.tables source ON i.key = :instance || '/' || source.stage || '/' || source.name
WHERE i.value IS DISTINCT FROM source.data_version AND t.slice ->> 'key' IS NULL;

-- finished: all stages have one generation, that of the run
SELECT format('%s/%s of %s', stage, name, generation)
FROM generations WHERE generation <> coalesce(
    :generation, (SELECT min(generation) FROM generations)
);
