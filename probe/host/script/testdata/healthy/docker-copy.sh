#!/bin/sh
set -e
cp -L "$RENEWED_LINEAGE/fullchain.pem" /srv/docker/registry/certs/domain.crt
cp -L "$RENEWED_LINEAGE/privkey.pem" /srv/docker/registry/certs/domain.key
docker restart registry
