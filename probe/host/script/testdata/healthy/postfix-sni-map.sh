#!/bin/sh
set -e
postmap -F hash:/etc/postfix/vmail_ssl.map
postfix reload
