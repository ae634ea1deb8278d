# SPDX-License-Identifier: Apache-2.0
# What the scripts of this bundle share; read with ". ./lib/common.sh". Everything may run again at any time. Variables
# of functions begin with '_', since a POSIX shell has no local ones.

set -eu
umask 022
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PATH

fail() {
    echo "error: $*" >&2
    exit 1
}

need() {
    for _program in "$@"; do
        command -v "$_program" >/dev/null 2>&1 || fail "the image of this node lacks $_program"
    done
}

# run_as USER COMMAND...: without any of our privileges
run_as() {
    _account=$1
    shift
    setpriv --reuid="$_account" --regid="$(id -g "$_account")" --init-groups --no-new-privs -- "$@"
}

# is_running PID_FILE NAME: whether the process of the file lives and is the one that is meant; sets pid
is_running() {
    [ -s "$1" ] || return 1
    pid=$(head -n 1 "$1")
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    [ -r "/proc/$pid/cmdline" ] || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -F -- "$2"
}

# wait_until SECONDS COMMAND...
wait_until() {
    _left=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        _left=$((_left - 1))
        [ "$_left" -gt 0 ] || return 1
        sleep 0.2
    done
}

# stop_process PID_FILE NAME SECONDS: first asked, then forced
stop_process() {
    is_running "$1" "$2" || {
        rm -f "$1"
        return 0
    }
    kill -TERM "$pid" 2>/dev/null || true
    process_is_gone() { ! is_running "$1" "$2"; }
    if ! wait_until "$3" process_is_gone "$1" "$2"; then
        kill -KILL "$pid" 2>/dev/null || true
        wait_until 5 process_is_gone "$1" "$2" || fail "process $pid does not end"
    fi
    rm -f "$1"
}

# write_file PATH MODE OWNER: standard input, in one piece; prints "changed" when the content is new
write_file() {
    _new=$(mktemp "$1.XXXXXX")
    cat >"$_new"
    chmod "$2" "$_new"
    chown "$3" "$_new"
    if [ -f "$1" ] && cmp -s "$_new" "$1"; then
        rm -f "$_new"
    else
        mv -f "$_new" "$1"
        echo changed
    fi
}

# check_number NAME VALUE LOW HIGH
check_number() {
    case $2 in '' | *[!0-9]*) fail "$1 must be a number, not '$2'" ;; esac
    [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || fail "$1 must be from $3 to $4, not $2"
}

# check_word NAME VALUE: a plain word, safe in configuration files
check_word() {
    case $2 in '' | *[!A-Za-z0-9_]*) fail "$1 must consist of letters, digits and '_'" ;; esac
}

result() {
    [ -z "${BASTIDE_RESULTS:-}" ] || printf '%s\n' "$2" >"$BASTIDE_RESULTS/$1"
}
