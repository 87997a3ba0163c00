#!/bin/bash
if [[ $RENEWED_LINEAGE == */irc.example.com ]]; then
    cat "$RENEWED_LINEAGE"/{privkey,cert,chain}.pem > /var/lib/znc/znc.pem || exit 1
    chown znc:znc /var/lib/znc/znc.pem && chmod 600 /var/lib/znc/znc.pem
fi
