#!/bin/sh
set -e
scp -i /root/.ssh/deploy "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" deploy@backup:/etc/ssl/private/
ssh -i /root/.ssh/deploy deploy@backup sudo systemctl reload nginx
