#!/bin/sh
set -e
cp "$RENEWED_LINEAGE/fullchain.pem" /etc/coturn/certs/
cp "$RENEWED_LINEAGE/privkey.pem" /etc/coturn/certs/
chown -R turnserver:turnserver /etc/coturn/certs
systemctl kill -s USR2 coturn
