#!/bin/sh
nginx -t -q && systemctl reload nginx
