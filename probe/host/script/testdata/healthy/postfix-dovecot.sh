#!/bin/sh
set -e
postfix reload
doveadm reload
