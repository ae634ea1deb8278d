#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh

need haproxy
id haproxy >/dev/null 2>&1 || fail "the image of this node lacks the user haproxy"
mkdir -p /etc/bastide/load-balancer
chmod 0755 /etc/bastide /etc/bastide/load-balancer
result version "$(haproxy -v | head -n 1)"
