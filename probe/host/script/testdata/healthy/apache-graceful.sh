#!/bin/sh
apachectl graceful
