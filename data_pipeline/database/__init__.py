"""WHAT does PostgreSQL know? Connections, names, locks, errors; it knows no stage."""
