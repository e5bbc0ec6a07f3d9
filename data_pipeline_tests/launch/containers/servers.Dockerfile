# Stands in for the images postgres and redis, of which it does what the compose files rely on.
FROM localhost/debian:base
RUN apt-get update -q && apt-get install -qy --no-install-recommends postgresql redis-server \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ || true
COPY postgres.sh /usr/local/bin/
