#!/bin/sh
tar czf /var/backups/letsencrypt-$(date +%F).tar.gz /etc/letsencrypt
