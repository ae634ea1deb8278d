#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# HAProxy: TLS outside, health-checked web servers inside. The certificate was put there by the task before this one.
. ./lib/common.sh
. ./load-balancer/lib.sh

backends=$(bastide-param load-balancer.backends)
names=$(bastide-param load-balancer.names)
[ -s "$certificate" ] && [ -s "$certificate.key" ] || fail "there is no certificate at $certificate"

servers() {
    # shellcheck disable=SC2086 # split at blanks on purpose
    set -- $backends
    for name in $names; do
        [ $# -gt 0 ] || fail "there are more names than backends"
        case $name$1 in *[!A-Za-z0-9.:_-]*) fail "'$name' or '$1' is no plain name or address" ;; esac
        printf '    server %s %s check\n' "${name%%.*}" "$1"
        shift
    done
}
list=$(servers)

change=$(
    write_file "$configuration" 0644 root:root <<EOF
global
    user haproxy
    group haproxy
    maxconn 2000
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305

defaults
    mode http
    timeout connect 3s
    timeout client 30s
    timeout server 30s
    timeout http-request 10s
    timeout queue 10s
    option redispatch
    retries 2

frontend plain
    bind :80
    http-request redirect scheme https code 301

frontend secure
    bind :443 ssl crt $certificate alpn h2,http/1.1
    http-request del-header X-Forwarded-For
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-response set-header Strict-Transport-Security "max-age=31536000"
    default_backend web

backend web
    balance roundrobin
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host health
    http-check expect status 200
    default-server inter 1s fall 2 rise 1
$list
EOF
)
if [ -n "$change" ] && is_running "$pid_file" "$configuration"; then
    launch
fi
