#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh

port=$(bastide-param web.port 8000)
check_number web.port "$port" 1 65535
pid_file=/run/bastide-web.pid
log=/var/log/bastide-web.log
program=/srv/bastide-web/app.py

answers() {
    python3 -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/health', timeout=2)"
}

if ! is_running "$pid_file" "$program"; then
    touch "$log"
    chown bastide-web "$log"
    chmod 0640 "$log"
    cd /
    # setsid: the application outlives this step.
    run_as bastide-web setsid --fork sh -c 'echo $$; exec python3 "$0" >>"$1" 2>&1 </dev/null' "$program" "$log" >"$pid_file.new"
    wait_until 5 test -s "$pid_file.new" || fail "the application did not start"
    mv -f "$pid_file.new" "$pid_file"
fi
wait_until 30 answers || {
    tail -n 20 "$log" >&2
    fail "the application does not answer, or cannot reach the database"
}
result port "$port"
