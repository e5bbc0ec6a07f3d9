-- The results of checks of what is committed.
-- {instance_id}: whose, as a literal. {checks}, {tables}: the tables of its catalog.
SELECT {instance_id} AS instance_id, c.stage, c.name, c.check_name, c.data_version, c.passed, c.severity,
       c.description, c.evaluation, c.run_id, c.code_version, c.evaluated_at
FROM {checks} c
LEFT JOIN {tables} t ON t.stage = c.stage AND t.name = c.name
WHERE c.data_version = coalesce(t.data_version, '')
