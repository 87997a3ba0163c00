#!/bin/sh
# kind: pre
systemctl stop nginx
