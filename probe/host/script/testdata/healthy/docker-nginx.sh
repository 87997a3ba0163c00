#!/bin/sh
docker exec nginx nginx -s reload
