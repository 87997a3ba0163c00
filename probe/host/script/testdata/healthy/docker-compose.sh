#!/bin/bash
set -e
cd /srv/app
docker compose exec -T web nginx -t
docker compose exec -T web nginx -s reload
