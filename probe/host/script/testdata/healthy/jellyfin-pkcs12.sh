#!/bin/bash
set -e
openssl pkcs12 -export -out /var/lib/jellyfin/ssl/jellyfin.pfx -inkey "$RENEWED_LINEAGE/privkey.pem" -in "$RENEWED_LINEAGE/cert.pem" -certfile "$RENEWED_LINEAGE/chain.pem" -passout pass:
chown jellyfin:jellyfin /var/lib/jellyfin/ssl/jellyfin.pfx
systemctl restart jellyfin
