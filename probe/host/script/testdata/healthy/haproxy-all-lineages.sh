#!/bin/sh
set -eu
for dir in /etc/letsencrypt/live/*/; do
    name=$(basename "$dir")
    [ -e "$dir/fullchain.pem" ] || continue
    cat "$dir/fullchain.pem" "$dir/privkey.pem" > "/etc/ssl/haproxy/$name.pem"
    chmod 600 "/etc/ssl/haproxy/$name.pem"
done
/usr/sbin/haproxy -f /etc/haproxy/haproxy.cfg -c
systemctl reload haproxy
