#!/bin/bash
set -euo pipefail
status=0
for host in web1 web2 web3; do
    rsync -aL -e "ssh -o BatchMode=yes" "$RENEWED_LINEAGE/" "root@$host:/etc/ssl/site/" || { status=1; continue; }
    ssh -o BatchMode=yes "root@$host" 'nginx -t && systemctl reload nginx' || status=1
done
exit $status
