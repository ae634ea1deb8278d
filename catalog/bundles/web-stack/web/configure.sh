#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the application reads when it starts. The password lies in a file that only its user may read.
. ./lib/common.sh

port=$(bastide-param web.port 8000)
database_port=$(bastide-param database.port 5432)
check_number web.port "$port" 1 65535
check_number database.port "$database_port" 1 65535

write_file /etc/bastide-web/settings 0640 root:bastide-web >/dev/null <<EOF
port=$port
title=$(bastide-param web.title 'Bastide')
cluster=$(bastide-param cluster.name)
node=$(bastide-param cluster.node)
database_host=$(bastide-param database.host)
database_port=$database_port
database_name=$(bastide-param database.name)
database_user=$(bastide-param database.user)
EOF
bastide-secret database.password | write_file /etc/bastide-web/password 0400 bastide-web:bastide-web >/dev/null
