#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
. ./lib/common.sh

stop_process /run/bastide-web.pid /srv/bastide-web/app.py 10
