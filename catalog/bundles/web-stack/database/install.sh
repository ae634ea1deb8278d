#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# PostgreSQL comes with the image; this makes sure of it and of an empty data directory.
. ./lib/common.sh
. ./database/lib.sh

need setpriv psql
[ -x "$binaries/postgres" ] || fail "the image of this node lacks PostgreSQL 15"
id postgres >/dev/null 2>&1 || fail "the image of this node lacks the user postgres"

mkdir -p "$home"
chown postgres:postgres "$home"
chmod 0700 "$home"
prepare_run
if [ ! -f "$data/PG_VERSION" ]; then
    # What a broken attempt left.
    rm -rf "$data"
    (cd / && run_as postgres "$binaries/initdb" -D "$data" -U postgres -E UTF8 --locale=C.UTF-8 \
        --auth-local=peer --auth-host=scram-sha-256 --data-checksums --no-instructions) >/dev/null
fi
result version "$("$binaries/postgres" --version)"
