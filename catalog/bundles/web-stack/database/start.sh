#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh
. ./database/lib.sh

port=$(bastide-param database.port 5432)
check_number database.port "$port" 1 65535
prepare_run
cd /
if ! server_is_up; then
    # A process id file that is left from before a reboot must not point at somebody else.
    is_running "$data/postmaster.pid" "$binaries/postgres" || rm -f "$data/postmaster.pid"
    control start -l "$log" || {
        tail -n 20 "$log" >&2
        fail "PostgreSQL did not start"
    }
fi
wait_until 30 run_as postgres "$binaries/pg_isready" -q -h "$sockets" -p "$port" || fail "PostgreSQL does not answer"
result port "$port"
