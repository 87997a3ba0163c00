#!/usr/bin/env bash
set -e
DOMAIN="unifi.example.com"
ALIAS="unifi"
PASSWORD="aircontrolenterprise"
KEYSTORE=/var/lib/unifi/keystore
if [ "$(basename "$RENEWED_LINEAGE")" != "$DOMAIN" ]; then
  exit 0
fi
TEMP=$(mktemp)
openssl pkcs12 -export -in "$RENEWED_LINEAGE/fullchain.pem" -inkey "$RENEWED_LINEAGE/privkey.pem" -out "$TEMP" -passout pass:"$PASSWORD" -name "$ALIAS"
keytool -delete -alias "$ALIAS" -keystore "$KEYSTORE" -deststorepass "$PASSWORD" || true
keytool -importkeystore -deststorepass "$PASSWORD" -destkeypass "$PASSWORD" -destkeystore "$KEYSTORE" -srckeystore "$TEMP" -srcstoretype PKCS12 -srcstorepass "$PASSWORD" -alias "$ALIAS" -noprompt
rm -f "$TEMP"
systemctl restart unifi
