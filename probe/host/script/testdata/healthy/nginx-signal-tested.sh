#!/bin/sh
set -e
/usr/sbin/nginx -t
kill -HUP "$(cat /run/nginx.pid)"
