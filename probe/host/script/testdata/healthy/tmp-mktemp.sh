#!/bin/bash
set -e
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$RENEWED_LINEAGE/privkey.pem" "$dir/key.pem"
openssl rsa -in "$dir/key.pem" -out /etc/legacy/key.pem
systemctl restart legacy-app
