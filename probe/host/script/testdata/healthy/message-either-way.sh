#!/bin/bash
# tells a chat how it went, and fails if it failed
if nginx -t 2>/dev/null && systemctl reload nginx; then
    message="nginx serves the new certificate"
    status=0
else
    message="nginx was not reloaded: $(nginx -t 2>&1)"
    status=1
fi
if [ -x /usr/local/bin/chat ]; then
    {
        echo "domains: ${RENEWED_DOMAINS:-unknown}"
        echo "$message"
    } | /usr/local/bin/chat --title "certificate"
fi
exit $status
