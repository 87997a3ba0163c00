#!/bin/bash
# reload nginx when a certificate was renewed
if nginx -t > /dev/null 2>&1; then
    systemctl reload nginx
else
    echo "nginx configuration is broken, not reloading" >&2
    exit 1
fi
