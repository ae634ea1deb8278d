#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh
. ./load-balancer/lib.sh

stop_process "$pid_file" "$configuration" 10
