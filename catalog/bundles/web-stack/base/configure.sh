#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Names of all nodes of the cluster in /etc/hosts, between two marks; the rest of the file stays.
. ./lib/common.sh

hosts=$(bastide-param cluster.hosts)
addresses=$(bastide-param cluster.addresses)
begin='# bastide: nodes of this cluster'
end='# bastide: end'

{
    if [ -f /etc/hosts ]; then
        sed "/^$begin\$/,/^$end\$/d" /etc/hosts
    else
        printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n'
    fi
    echo "$begin"
    # shellcheck disable=SC2086 # the lists are split at blanks on purpose
    set -- $addresses
    for host in $hosts; do
        [ $# -gt 0 ] || fail "there are more host names than addresses"
        printf '%s %s %s\n' "$1" "$host" "${host%%.*}"
        shift
    done
    echo "$end"
} >/etc/hosts.bastide
# The file may be a mount of the host, so its content is replaced, not the file.
cat /etc/hosts.bastide >/etc/hosts
rm -f /etc/hosts.bastide
