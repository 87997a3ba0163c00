#!/bin/bash
set -e
umask 0077
for domain in $RENEWED_DOMAINS; do
  cat /etc/letsencrypt/live/$domain/{fullchain,privkey}.pem > /etc/haproxy/certs/$domain.pem
done
systemctl reload haproxy
