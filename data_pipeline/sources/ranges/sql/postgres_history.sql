-- In what database, and in what history of it, pages and numbers of transactions have a meaning.
SELECT json_build_array(
    (SELECT system_identifier FROM pg_control_system())::text,
    (SELECT timeline_id FROM pg_control_checkpoint()),
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database())
)::text
