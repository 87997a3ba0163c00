// Package depstmp holds modules until the code that needs them is there.
package depstmp

import (
	_ "github.com/go-acme/lego/v4/challenge/dns01"
	_ "github.com/go-acme/lego/v4/challenge/http01"
	_ "github.com/go-acme/lego/v4/challenge/resolver"
	_ "github.com/go-acme/lego/v4/challenge/tlsalpn01"
	_ "github.com/go-acme/lego/v4/providers/dns/acmedns"
	_ "github.com/go-acme/lego/v4/providers/dns/cloudflare"
	_ "github.com/go-acme/lego/v4/providers/dns/desec"
	_ "github.com/go-acme/lego/v4/providers/dns/digitalocean"
	_ "github.com/go-acme/lego/v4/providers/dns/exec"
	_ "github.com/go-acme/lego/v4/providers/dns/gandiv5"
	_ "github.com/go-acme/lego/v4/providers/dns/hetzner"
	_ "github.com/go-acme/lego/v4/providers/dns/httpreq"
	_ "github.com/go-acme/lego/v4/providers/dns/pdns"
	_ "github.com/go-acme/lego/v4/providers/dns/rfc2136"
	_ "github.com/go-acme/lego/v4/providers/dns/route53"
	_ "github.com/go-acme/lego/v4/registration"
)
