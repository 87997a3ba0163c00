#!/bin/bash
set -e
for svc in nginx apache2 haproxy; do
    if systemctl is-active --quiet "$svc"; then
        systemctl reload "$svc"
    fi
done
