#!/bin/bash
set -e
systemctl reload nginx
curl -fsS -m 10 --retry 5 -o /dev/null https://hc.example.com/ping/abc || true
echo "Renewed: $RENEWED_DOMAINS" | mail -s "certificates renewed on $(hostname)" root
