#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh
. ./load-balancer/lib.sh

is_running "$pid_file" "$configuration" || launch
result port 443
