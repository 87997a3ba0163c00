#!/bin/sh
systemctl reload nginx || systemctl restart nginx
