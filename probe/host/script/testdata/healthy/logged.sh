#!/bin/bash
set -euo pipefail
exec >> /var/log/letsencrypt/deploy.log 2>&1
echo "$(date -Is) renewed $RENEWED_DOMAINS"
nginx -t
systemctl reload nginx
