#!/bin/sh
systemctl restart vsftpd
