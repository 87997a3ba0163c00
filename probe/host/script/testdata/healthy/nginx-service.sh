#!/bin/sh
service nginx reload
