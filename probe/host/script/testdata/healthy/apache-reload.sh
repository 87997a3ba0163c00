#!/bin/bash
set -e
apache2ctl configtest
systemctl reload apache2
