#!/bin/sh
if [ -d /run/systemd/system ]; then
    systemctl reload lighttpd
elif command -v rc-service >/dev/null; then
    rc-service lighttpd reload
else
    /etc/init.d/lighttpd reload
fi
