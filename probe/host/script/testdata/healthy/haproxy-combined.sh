#!/bin/bash
# Deploy hook: concatenate for HAProxy
set -euo pipefail
umask 077
domain=$(basename "$RENEWED_LINEAGE")
cat "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" > "/etc/haproxy/certs/${domain}.pem.new"
mv "/etc/haproxy/certs/${domain}.pem.new" "/etc/haproxy/certs/${domain}.pem"
haproxy -c -q -f /etc/haproxy/haproxy.cfg
systemctl reload haproxy
