#!/usr/bin/env bash
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ -z "${RENEWED_LINEAGE:-}" ]; then
    echo "not run by certbot" >&2
    exit 1
fi
cp "$RENEWED_LINEAGE/fullchain.pem" "$here/nginx/ssl/fullchain.pem"
cp "$RENEWED_LINEAGE/privkey.pem" "$here/nginx/ssl/privkey.pem"
chmod 644 "$here/nginx/ssl/fullchain.pem"
chmod 600 "$here/nginx/ssl/privkey.pem"
cd "$here"
docker compose -f docker-compose.prod.yml restart nginx
