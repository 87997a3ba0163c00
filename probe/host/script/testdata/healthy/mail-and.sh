#!/bin/sh
systemctl reload postfix && systemctl reload dovecot
