-- Writes results of checks, and forgets those of versions that are gone.
-- {rows}: the results, as a JSON text. {checks}, {tables}, {slots}, {staged}: the tables of the catalog.
WITH given AS (
    SELECT g.stage, g.name, g.check_name, g.passed, g.severity, g.description, g.evaluation, g.run_id,
           g.code_version,
           coalesce(g.data_version, s.data_version, t.data_version, '') AS data_version
    FROM jsonb_to_recordset({rows}::jsonb) AS g (
        stage text, name text, check_name text, data_version text, passed boolean, severity text,
        description text, evaluation text, run_id text, code_version text
    )
    LEFT JOIN {staged} s ON s.stage = g.stage AND s.name = g.name AND s.owner = g.run_id
    LEFT JOIN {tables} t ON t.stage = g.stage AND t.name = g.name
), gone AS (
    DELETE FROM {checks} c
    USING (SELECT DISTINCT stage, name FROM given) g
    WHERE c.stage = g.stage AND c.name = g.name
      AND NOT EXISTS (
          SELECT FROM given WHERE stage = c.stage AND name = c.name AND data_version = c.data_version
      )
      AND NOT EXISTS (
          SELECT FROM {tables} WHERE stage = c.stage AND name = c.name AND data_version = c.data_version
      )
      AND NOT EXISTS (
          SELECT FROM {slots} WHERE stage = c.stage AND name = c.name AND data_version = c.data_version
      )
      AND NOT EXISTS (
          SELECT FROM {staged} WHERE stage = c.stage AND name = c.name AND data_version = c.data_version
      )
)
INSERT INTO {checks} AS c (
    stage, name, check_name, data_version, passed, severity, description, evaluation, run_id,
    code_version, evaluated_at
)
SELECT stage, name, check_name, data_version, passed, severity, description, evaluation, run_id,
       code_version, clock_timestamp()
FROM given
ORDER BY stage, name, check_name
ON CONFLICT (stage, name, check_name, data_version) DO UPDATE SET
    passed = EXCLUDED.passed, severity = EXCLUDED.severity, description = EXCLUDED.description,
    evaluation = EXCLUDED.evaluation, run_id = EXCLUDED.run_id,
    code_version = EXCLUDED.code_version, evaluated_at = EXCLUDED.evaluated_at
