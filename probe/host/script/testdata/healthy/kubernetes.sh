#!/bin/bash
set -euo pipefail
kubectl create secret tls site --cert="$RENEWED_LINEAGE/fullchain.pem" --key="$RENEWED_LINEAGE/privkey.pem" --dry-run=client -o yaml | kubectl apply -f -
kubectl rollout restart deployment/site
