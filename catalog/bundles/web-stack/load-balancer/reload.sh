#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# After a new certificate. Before the first start there is nothing to do.
. ./lib/common.sh
. ./load-balancer/lib.sh

if is_running "$pid_file" "$configuration"; then
    launch
fi
