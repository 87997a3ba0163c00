#!/bin/bash
# certbot deploy hook: only for our mail lineage
[[ "$RENEWED_LINEAGE" == "/etc/letsencrypt/live/mail.example.com" ]] || exit 0
postfix check && postfix reload && doveadm reload
