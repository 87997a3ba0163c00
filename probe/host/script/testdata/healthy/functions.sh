#!/bin/bash
set -Eeuo pipefail

log() { printf '%s %s\n' "$(date +%FT%T)" "$*"; }
die() { log "$*" >&2; exit 1; }

deploy() {
  local name=$1 target=$2
  install -m 0644 "$RENEWED_LINEAGE/fullchain.pem" "$target/$name.crt"
  install -m 0600 "$RENEWED_LINEAGE/privkey.pem" "$target/$name.key"
}

name=$(basename "$RENEWED_LINEAGE")
deploy "$name" /etc/nginx/ssl
nginx -t || die "nginx does not like its configuration"
systemctl reload nginx
log "deployed $name"
