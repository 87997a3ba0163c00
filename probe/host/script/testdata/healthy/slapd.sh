#!/bin/sh -e
umask 077
D=/etc/ldap/tls
cp -f "$RENEWED_LINEAGE/privkey.pem" "$D/privkey.pem.tmp"
chown openldap "$D/privkey.pem.tmp"
mv "$D/privkey.pem.tmp" "$D/privkey.pem"
cp "$RENEWED_LINEAGE/fullchain.pem" "$D/fullchain.pem"
systemctl restart slapd
