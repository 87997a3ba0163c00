modules_enabled = { "tls"; "saslauth"; "dialback" }
c2s_require_encryption = true
c2s_direct_tls_ports = { 5223 }
s2s_direct_tls_ports = { 5270 }
ssl = { certificate = "/etc/tls/ecdsa.pem"; key = "/etc/tls/ecdsa.key" }
pidfile = "/run/prosody/prosody.pid"
log = { info = "*console" }
VirtualHost "services"
