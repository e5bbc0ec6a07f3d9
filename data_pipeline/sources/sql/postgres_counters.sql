-- What changes whenever the rows of a table may have: its counters, those of its partitions and of
-- the tables that inherit from it, and all that could set them back, so that equal numbers never
-- stand for other rows. A crash empties the statistics; then those of the background writer begin
-- anew, with the time at which they did. No counter tells that a column was dropped and is there
-- anew, or has the name of another one: the places of the columns do, where they are not in order.
WITH RECURSIVE members(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name
  UNION
    SELECT i.inhrelid FROM pg_inherits i JOIN members ON i.inhparent = members.oid
), counted AS (
    SELECT oid::bigint AS oid, pg_relation_filenode(oid)::bigint AS file,
        pg_relation_size(oid) AS size, pg_stat_get_tuples_inserted(oid) AS inserted,
        pg_stat_get_tuples_updated(oid) AS updated, pg_stat_get_tuples_deleted(oid) AS deleted
    FROM members
), since AS (
    SELECT (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
        (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS base,
        (SELECT extract(epoch FROM stats_reset)::text FROM pg_stat_bgwriter) AS writer,
        (SELECT extract(epoch FROM stats_reset)::text
         FROM pg_stat_database WHERE datname = current_database()) AS statistics
), stated AS (
    SELECT array_agg(CAST(a.attnum AS integer)
        ORDER BY array_position(CAST(:columns AS text[]), CAST(a.attname AS text))) AS places
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relname = :name AND a.attname = ANY (CAST(:columns AS text[]))
), alone AS (
    SELECT count(*) AS members,
        min(json_build_array(cluster, base, writer, statistics, oid, file, size, inserted, updated,
                             deleted)::text) AS own,
        json_agg(json_build_array(oid, file, size, inserted, updated, deleted) ORDER BY oid) AS all_
    FROM counted CROSS JOIN since
)
SELECT pg_is_in_recovery() AS standby, current_setting('track_counts')::boolean AS counts,
    CASE WHEN members = 1 THEN own
         ELSE (SELECT json_build_array(cluster, base, writer, statistics, all_)::text FROM since) END
        || CASE WHEN places = ARRAY(SELECT generate_series(1, cardinality(places))) THEN ''
                ELSE coalesce(places::text, '') END
    AS identity
FROM alone CROSS JOIN stated WHERE members > 0
