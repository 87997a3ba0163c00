#!/bin/sh
pvenode cert set "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" --force 1 --restart 1
