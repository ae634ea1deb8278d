# SPDX-License-Identifier: Apache-2.0
# Places of the database; read after lib/common.sh.

binaries=/usr/lib/postgresql/15/bin
home=/var/lib/bastide-database
data=$home/data
sockets=/run/bastide-database
log=/var/log/bastide-database.log

prepare_run() {
    mkdir -p "$sockets"
    chown postgres:postgres "$sockets"
    chmod 0755 "$sockets"
    touch "$log"
    chown postgres:postgres "$log"
    chmod 0640 "$log"
}

# control ACTION ARGUMENTS...: pg_ctl; it detaches the server by itself
control() {
    run_as postgres "$binaries/pg_ctl" -D "$data" -s -w -t 60 "$@"
}

server_is_up() {
    run_as postgres "$binaries/pg_ctl" -D "$data" -s status >/dev/null 2>&1
}

# sql DATABASE: statements from standard input, stops at the first error
sql() {
    run_as postgres psql -X -q -v ON_ERROR_STOP=1 -h "$sockets" -U postgres -d "$1"
}
