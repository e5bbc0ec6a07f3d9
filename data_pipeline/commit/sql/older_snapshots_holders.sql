SELECT a.pid, a.usename, a.application_name, a.backend_type, a.state,
       a.backend_xmin::text AS snapshot, l.virtualtransaction AS transaction,
       date_trunc('second', a.xact_start) AS since, left(a.query, 100) AS query
FROM pg_stat_activity a
JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock'
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
  AND age(a.backend_xmin) >= age(CAST(:writer AS xid))
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND a.application_name <> :program AND NOT starts_with(a.application_name, :program || ' ')
  AND NOT coalesce(a.xact_start > :built, false)
  AND NOT coalesce(a.state = 'active' AND a.query_start <= :built, false)
  AND a.pid NOT IN (
      SELECT pid FROM pg_stat_replication
      UNION ALL SELECT pid FROM pg_stat_progress_vacuum
      UNION ALL SELECT pid FROM pg_stat_progress_analyze
      UNION ALL SELECT pid FROM pg_stat_progress_create_index
      UNION ALL SELECT pid FROM pg_stat_progress_cluster
  )
ORDER BY a.pid
