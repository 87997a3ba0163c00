#!/bin/sh
httpd -t 2>/dev/null || exit 1
systemctl reload httpd.service
