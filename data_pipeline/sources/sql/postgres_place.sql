SELECT json_build_array(
    (SELECT system_identifier::text FROM pg_control_system()),
    extract(epoch FROM pg_postmaster_start_time())::text,
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database())
)::text
