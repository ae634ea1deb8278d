#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Who may connect, from where, and how much memory the server takes.
. ./lib/common.sh
. ./database/lib.sh

port=$(bastide-param database.port 5432)
name=$(bastide-param database.name)
user=$(bastide-param database.user)
clients=$(bastide-param database.clients)
connections=$(bastide-param database.maximum_connections 100)
check_number database.port "$port" 1 65535
check_number database.maximum_connections "$connections" 10 10000
check_word database.name "$name"
check_word database.user "$user"

shared_memory=posix
[ -w /dev/shm ] || shared_memory=mmap

change=$(
    write_file "$data/bastide.conf" 0600 postgres:postgres <<EOF
listen_addresses = '*'
port = $port
unix_socket_directories = '$sockets'
max_connections = $connections
shared_buffers = '32MB'
dynamic_shared_memory_type = $shared_memory
password_encryption = 'scram-sha-256'
log_connections = on
log_statement = 'none'
EOF
)
grep -q "^include 'bastide.conf'" "$data/postgresql.conf" || echo "include 'bastide.conf'" >>"$data/postgresql.conf"

change=$change$(
    {
        echo 'local all postgres peer'
        for client in $clients; do
            case $client in *[!0-9a-fA-F.:/]*) fail "database.clients: '$client' is no network" ;; esac
            echo "host $name $user $client scram-sha-256"
        done
    } | write_file "$data/pg_hba.conf" 0600 postgres:postgres
)

# A server that runs takes the new rules at once; the rest takes effect with the next start.
if [ -n "$change" ] && server_is_up; then
    control reload
fi
