#!/bin/sh
rsync -a --delete /etc/letsencrypt/ backup:/srv/backup/letsencrypt/
