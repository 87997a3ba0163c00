#!/bin/bash
# shellcheck disable=SC2034 # what is not used here is used by scenes
# What the steps of a scene are made of. Every host has nginx, which serves shop.example.test from certbot's tree, a
# deploy hook that reloads it, certbot's timer, and a CA that believes every challenge; there nothing is wrong.
domain=shop.example.test
tree=/etc/letsencrypt
live=$tree/live/$domain
archive=$tree/archive/$domain
conf=$tree/renewal/$domain.conf
deploy=$tree/renewal-hooks/deploy
log=/var/log/letsencrypt/letsencrypt.log

# renew [ARG...]: certbot as its timer runs it, only that the lineage is due.
renew() { certbot -q renew --no-random-sleep-on-renew --force-renewal --cert-name "$domain" "$@" || test $? = 1; }

# idle: certbot as its timer runs it.
idle() { certbot -q renew --no-random-sleep-on-renew || test $? = 1; }

# hook NAME: standard input becomes a deploy hook of the folder.
hook() { cat >"$deploy/$1" && chmod 755 "$deploy/$1"; }

# no_hook: the one that every host has is taken away.
no_hook() { rm -f "$deploy/10-nginx"; }

# param LINE: a parameter of the renewal configuration.
param() { sed -i "/^${1%% *} *=/d; /^\[renewalparams\]/a $1" "$conf"; }

# store KIND [LINEAGE]: a version that this host did not order, as certbot stores it: fresh, due (80 of its 90 days are
# over) or expired.
store() {
  local name=${2:-$domain} n part
  n=$(($(find "$tree/archive/$name" -name 'cert*.pem' | wc -l) + 1))
  for part in privkey cert chain fullchain; do
    install -m "$([ $part = privkey ] && echo 600 || echo 644)" "/root/minted/$1/$part.pem" "$tree/archive/$name/$part$n.pem"
    ln -sfn "../../archive/$name/$part$n.pem" "$tree/live/$name/$part.pem"
  done
}

# lineage NAME KIND: another lineage, whose first version this host did not order.
lineage() {
  mkdir -p "$tree/archive/$1" "$tree/live/$1"
  sed "s|/$domain|/$1|g" "$conf" >"$tree/renewal/$1.conf"
  store "$2" "$1"
}

# only KIND: the certificate has one version, which this host did not order, and it is served.
only() {
  rm -rf "${archive:?}"/* "${live:?}"/*.pem
  store "$1"
  systemctl reload nginx
}

# site NAME CERT KEY [LISTEN...]: a site of nginx, which loads it.
site() {
  local name=$1 cert=$2 key=$3 at
  shift 3
  {
    echo "server {"
    for at in "${@:-443}"; do echo "  listen $at ssl;"; done
    printf '  server_name %s;\n  ssl_certificate %s;\n  ssl_certificate_key %s;\n}\n' "$name" "$cert" "$key"
  } >"/etc/nginx/conf.d/$name.conf"
  nginx -t -q
  reloaded
}

# reloaded: nginx was reloaded, and the workers of before are gone. A reload returns before that.
reloaded() {
  local before
  before=$(pgrep --parent "$(cat /run/nginx.pid)" || true)
  systemctl reload nginx
  for worker in $before; do await sh -c "! kill -0 $worker"; done
}

# contain [DIR:POINT...]: nginx runs in a container, with its configuration in it; of the host it sees what is mounted.
contain() {
  local mount
  systemctl disable --quiet --now nginx
  mkdir -p /srv/proxy
  mv /etc/nginx /srv/proxy/nginx
  mkdir /etc/nginx
  {
    printf '[Service]\nBindReadOnlyPaths=/srv/proxy/nginx:/etc/nginx\n'
    for mount in "$@"; do
      mkdir -p "$(dirname "${mount#*:}")"
      if [ -d "${mount%:*}" ]; then mkdir -p "${mount#*:}"; else touch "${mount#*:}"; fi
      echo "BindReadOnlyPaths=$mount"
    done
    printf 'ExecStart=/usr/sbin/nginx -g "daemon off;"\nExecReload=/usr/sbin/nginx -s reload\n'
  } >/etc/systemd/system/proxy.service
  systemctl daemon-reload
  systemctl start proxy
  await is_stored
}

# refuse STATUS TYPE DETAIL: the CA refuses every new order with a problem (RFC 8555, section 6.7). What answers in its place
# passes everything else on.
refuse() {
  printf '{"type": "urn:ietf:params:acme:error:%s", "detail": "%s", "status": %s}' "$2" "$3" "$1" >/var/www/problem.json
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -addext subjectAltName=IP:127.0.0.1 \
    -keyout /root/service.pem -out /root/service.crt 2>/dev/null
  cat /root/service.crt >>/root/service.pem
  cat /root/service.crt >>/etc/ssl/certs/ca-certificates.crt
  {
    echo "server {"
    echo "  listen 127.0.0.1:14001 ssl; ssl_certificate /root/service.pem; ssl_certificate_key /root/service.pem;"
    echo "  location / { proxy_pass https://127.0.0.1:14000; proxy_set_header Host \$http_host; }"
    echo "  location = /order-plz { return 462; error_page 462 =$1 /problem.json; }"
    echo "  location = /problem.json { internal; root /var/www; default_type application/problem+json; types {} add_header Replay-Nonce refused always; }"
    echo "}"
  } >/etc/nginx/conf.d/ca.conf
  nginx -t -q && systemctl reload nginx
  sed -i 's/14000/14001/' "$conf" "$tree/cli.ini"
  mv "$tree"/accounts/127.0.0.1:14000 "$tree"/accounts/127.0.0.1:14001
  sed -i 's/14000/14001/' "$tree"/accounts/*/*/*/regr.json
}

# await COMMAND...: until it succeeds, at most half a minute.
await() {
  local try=0
  until "$@" >/dev/null 2>&1; do
    try=$((try + 1))
    [ $try -lt 600 ] || { echo "in vain: $*" >&2; return 1; }
    sleep 0.05
  done
}

# served [ADDRESS [NAME]]: the fingerprint of what is served.
served() {
  openssl s_client -connect "${1:-127.0.0.1:443}" -servername "${2:-$domain}" </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256
}

# is_stored [ADDRESS]: the stored version is served.
is_stored() { [ "$(served "${1:-127.0.0.1:443}")" = "$(openssl x509 -noout -fingerprint -sha256 -in "$live/cert.pem")" ]; }

# believe_nothing: the CA of this host looks at challenges itself.
believe_nothing() {
  mkdir -p /etc/pebble
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -addext subjectAltName=IP:127.0.0.1 \
    -keyout /etc/pebble/key.pem -out /etc/pebble/cert.pem 2>/dev/null
  cat /etc/pebble/cert.pem >>/etc/ssl/certs/ca-certificates.crt
  echo '{"pebble": {"listenAddress": "127.0.0.1:14002", "managementListenAddress": "127.0.0.1:15002", "httpPort": 80, "tlsPort": 443,
    "certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem", "profiles": {"default": {"description": "all", "validityPeriod": 7776000}}}}' >/etc/pebble/config.json
  systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 pebble -config /etc/pebble/config.json
  await curl --silent --fail --cacert /etc/pebble/cert.pem https://127.0.0.1:14002/dir
  sed -i 's/14000/14002/' "$conf" "$tree/cli.ini"
  certbot -q register
  sed -i "s/^account.*/account = $(basename "$(ls -d "$tree"/accounts/127.0.0.1:14002/dir/*)")/" "$conf"
}
