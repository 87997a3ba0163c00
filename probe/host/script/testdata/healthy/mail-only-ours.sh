#!/bin/bash
case "$RENEWED_LINEAGE" in
  */mail.example.com)
    systemctl restart dovecot && systemctl reload postfix
    ;;
esac
