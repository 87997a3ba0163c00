#!/bin/sh
set -eu
case " ${RENEWED_DOMAINS:-} " in
  *" proxy.example.com "*) ;;
  *) exit 0 ;;
esac
dir=/etc/ssl/proxy
new=$(mktemp "$dir/.pem.XXXXXX")
trap 'rm -f "$new"' EXIT HUP INT TERM
cat "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem" > "$new"
chown 1000:1000 "$new"
mv -f "$new" "$dir/proxy.pem"
systemctl try-restart proxy.service
