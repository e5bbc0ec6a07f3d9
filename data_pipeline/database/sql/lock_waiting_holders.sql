SELECT DISTINCT l.pid, a.usename, a.application_name, a.backend_type, a.state,
       date_trunc('second', a.backend_start) AS begun,
       date_trunc('second', a.xact_start) AS since,
       left(a.query, 100) AS query,
       p.gid, p.owner, date_trunc('second', p.prepared) AS prepared
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks o ON l.pid IS NULL AND o.pid IS NULL AND o.locktype = 'transactionid'
  AND o.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = o.transactionid
WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND (a.pid IS NOT NULL OR p.gid IS NOT NULL)
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND {what}
ORDER BY l.pid, p.gid
