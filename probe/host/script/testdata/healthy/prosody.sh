#!/bin/sh
/usr/bin/prosodyctl --root cert import /etc/letsencrypt/live
