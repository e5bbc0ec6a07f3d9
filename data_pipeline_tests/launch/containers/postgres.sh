#!/bin/sh
# As the image postgres begins: a new volume is initialised, with what is in docker-entrypoint-initdb.d.
set -eu
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    chown postgres "$data"
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    chmod a+r /tmp/password
    as_postgres="setpriv --reuid postgres --regid postgres --clear-groups"
    $as_postgres initdb --pgdata "$data" --auth-host scram-sha-256 --pwfile /tmp/password > /dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
    $as_postgres pg_ctl --pgdata "$data" --wait --options "-c listen_addresses='' -k /tmp" start > /dev/null
    for file in /docker-entrypoint-initdb.d/*.sql; do
        $as_postgres psql --host /tmp --no-psqlrc --set ON_ERROR_STOP=1 --file "$file" postgres
    done
    $as_postgres pg_ctl --pgdata "$data" --wait stop > /dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups \
    postgres -D "$data" -c listen_addresses='*' -k /tmp
