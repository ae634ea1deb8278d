# SPDX-License-Identifier: Apache-2.0
# Places of the load balancer; read after lib/common.sh.

configuration=/etc/bastide/load-balancer/haproxy.cfg
certificate=/etc/bastide/load-balancer/edge.pem
pid_file=/run/bastide-load-balancer.pid

# Starts HAProxy, or lets a new process take over from the running one without losing a connection.
launch() {
    haproxy -c -q -f "$configuration" || fail "HAProxy does not accept its configuration"
    if is_running "$pid_file" "$configuration"; then
        old=$pid
        haproxy -D -f "$configuration" -p "$pid_file" -sf "$old"
    else
        haproxy -D -f "$configuration" -p "$pid_file"
    fi
    wait_until 10 is_running "$pid_file" "$configuration" || fail "HAProxy did not start"
}
