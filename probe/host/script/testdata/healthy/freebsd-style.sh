#!/bin/sh
# kind: post
for service in postfix dovecot; do
	service "$service" status >/dev/null 2>&1 || continue
	service "$service" reload || exit 1
done
