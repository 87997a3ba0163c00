#!/bin/bash
set -e
cp /etc/letsencrypt/live/pve.example.com/fullchain.pem /etc/pve/local/pveproxy-ssl.pem
cp /etc/letsencrypt/live/pve.example.com/privkey.pem /etc/pve/local/pveproxy-ssl.key
systemctl restart pveproxy
