#!/bin/sh
# Run once by the Postgres image, at its first start: the services' role owns its database and nothing else.
# Some images source it, so it leaves no setting behind.
(
  psql --quiet --set=ON_ERROR_STOP=1 --host=/var/run/postgresql --username=postgres --dbname=postgres \
    --set=password="${TIDEMARK_PASSWORD:?}" <<'SQL'
CREATE ROLE tidemark LOGIN PASSWORD :'password';
CREATE DATABASE tidemark OWNER tidemark;
REVOKE CONNECT, TEMPORARY ON DATABASE tidemark FROM PUBLIC;
SQL
) || exit
