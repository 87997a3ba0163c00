#!/bin/bash
set -o errexit
umask 027
cat "$RENEWED_LINEAGE/privkey.pem" "$RENEWED_LINEAGE/fullchain.pem" > /etc/ejabberd/ejabberd.pem
chgrp ejabberd /etc/ejabberd/ejabberd.pem
ejabberdctl reload_config
