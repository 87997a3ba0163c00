#!/bin/bash
# kind: pre
ufw allow 80/tcp
