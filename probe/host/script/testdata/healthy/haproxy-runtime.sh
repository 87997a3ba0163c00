#!/bin/bash
set -euo pipefail
sock=/run/haproxy/admin.sock
pem=/etc/haproxy/certs/site.pem
umask 077
cat "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" > "$pem"
echo -e "set ssl cert $pem <<\n$(cat $pem)\n" | socat stdio "$sock"
echo "commit ssl cert $pem" | socat stdio "$sock"
