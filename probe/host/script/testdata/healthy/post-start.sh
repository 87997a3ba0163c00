#!/bin/sh
# kind: post
systemctl start nginx
