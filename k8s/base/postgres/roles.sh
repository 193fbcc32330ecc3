#!/bin/sh
# Runs once, when the database is made. The role of POSTGRES_USER owns the tables and changes them;
# the service has a role of its own that reads and writes rows, and can neither change nor drop a table;
# who counts for Prometheus sees what the server does (pg_monitor), and no table.
set -eu

psql --set=ON_ERROR_STOP=1 --quiet --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\set password `cat "$SERVICE_PASSWORD_FILE"`
CREATE ROLE auth_service LOGIN PASSWORD :'password';
\set password `cat "$METRICS_PASSWORD_FILE"`
CREATE ROLE metrics LOGIN CONNECTION LIMIT 3 IN ROLE pg_monitor PASSWORD :'password';
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO auth_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO auth_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO auth_service;
SQL
