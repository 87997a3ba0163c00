#!/usr/bin/env bash
set -euo pipefail
/usr/sbin/nginx -s reload
