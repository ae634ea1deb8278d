#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The application and the user it runs as.
. ./lib/common.sh

need python3 setpriv
python3 -c 'import psycopg2' || fail "the image of this node lacks python3-psycopg2"
id bastide-web >/dev/null 2>&1 ||
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin bastide-web
mkdir -p /srv/bastide-web /etc/bastide-web
chmod 0755 /srv/bastide-web
chown root:bastide-web /etc/bastide-web
chmod 0750 /etc/bastide-web
write_file /srv/bastide-web/app.py 0644 root:root <web/app.py >/dev/null
