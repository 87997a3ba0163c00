#!/bin/sh
set -e
install -m 644 "$RENEWED_LINEAGE/fullchain.pem" /etc/cockpit/ws-certs.d/1-letsencrypt.cert
install -m 640 -g cockpit-ws "$RENEWED_LINEAGE/privkey.pem" /etc/cockpit/ws-certs.d/1-letsencrypt.key
systemctl try-restart cockpit
