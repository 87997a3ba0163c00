#!/bin/sh
set -e
install -o mysql -g mysql -m 0644 "$RENEWED_LINEAGE/fullchain.pem" /etc/mysql/ssl/server-cert.pem
install -o mysql -g mysql -m 0600 "$RENEWED_LINEAGE/privkey.pem" /etc/mysql/ssl/server-key.pem
mariadb -e 'FLUSH SSL'
