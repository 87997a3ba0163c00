#!/bin/bash
set -e
DEST=/usr/syno/etc/certificate/system/default
install -m 400 "$RENEWED_LINEAGE/privkey.pem" "$DEST/privkey.pem"
install -m 400 "$RENEWED_LINEAGE/fullchain.pem" "$DEST/fullchain.pem"
install -m 400 "$RENEWED_LINEAGE/cert.pem" "$DEST/cert.pem"
synow3tool --gen-all
systemctl reload nginx
