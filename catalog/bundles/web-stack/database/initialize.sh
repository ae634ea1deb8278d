#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The role, its database and the tables. The server runs for this on its local socket only, unless it runs already.
. ./lib/common.sh
. ./database/lib.sh

name=$(bastide-param database.name)
user=$(bastide-param database.user)
check_word database.name "$name"
check_word database.user "$user"
password=$(bastide-secret database.password)
case $password in '' | *[!A-Za-z0-9]*) fail "database.password must consist of letters and digits" ;; esac

prepare_run
cd /
started=no
if ! server_is_up; then
    control start -l "$log" -o "-c listen_addresses=''"
    started=yes
fi
stop_again() {
    [ "$started" = no ] || control stop -m fast
}
trap stop_again EXIT

# printf is part of the shell: the password is in no list of processes.
{
    printf "\\\\set password '%s'\n" "$password"
    cat <<EOF
SELECT 'CREATE ROLE $user LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$user') \\gexec
ALTER ROLE $user PASSWORD :'password';
SELECT 'CREATE DATABASE $name OWNER $user' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$name') \\gexec
EOF
} | sql postgres

sql "$name" <<EOF
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS visits (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node TEXT NOT NULL,
    visited_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS visits_by_node ON visits (node);
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO $user;
GRANT SELECT, INSERT ON visits TO $user;
EOF
