#!/bin/bash
set -euo pipefail
declare -A targets=([mail.example.com]=dovecot [www.example.com]=nginx)
name="${RENEWED_LINEAGE##*/}"
service="${targets[$name]:-}"
[[ -n $service ]] || exit 0
systemctl reload "$service"
