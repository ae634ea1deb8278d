#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh
. ./database/lib.sh

cd /
[ -f "$data/PG_VERSION" ] || exit 0
if server_is_up; then
    control stop -m fast
fi
