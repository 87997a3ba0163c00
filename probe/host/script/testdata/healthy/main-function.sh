#!/bin/sh

error() {
    >&2 echo "${PROGNAME}: $1"
    exit 1
}

main() {
    nginx -t -q || error "the configuration is broken"
    systemctl reload nginx || error "the reload failed"
    if test -x "${git_bin}" && test -d /etc/.git; then
        ${git_bin} -C /etc commit --all --quiet --message "renewed ${RENEWED_DOMAINS}"
    fi
}

readonly PROGNAME=$(basename "$0")
readonly git_bin=$(command -v git)

main
