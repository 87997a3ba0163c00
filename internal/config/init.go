package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
)

// Init returns the text of a configuration file for what was found on a host: certificates,
// endpoints of others', and the servers whose configuration is there to be read, such as
// "nginx". Everything is observed and nothing is acted on; what an owner may opt in to
// stands beside it as comments. The text passes [Parse].
func Init(host []certmedic.Certificate, servers []string) []byte {
	var b bytes.Buffer
	b.WriteString(initHead)
	b.WriteString(initDiscover(host, servers))
	var managed, others []certmedic.Certificate
	for _, c := range host {
		if c.Source.Kind != certmedic.SourceNone {
			managed = append(managed, c)
		} else {
			others = append(others, c)
		}
	}
	if len(managed) == 0 {
		b.WriteString(initExample)
	} else {
		b.WriteString("\ncertificates:\n")
	}
	names := map[string]bool{}
	for _, c := range managed {
		c.Name = freeName(c.Name, names)
		writeCertificate(&b, c)
	}
	writeOthers(&b, others)
	b.WriteString(initTail)
	return b.Bytes()
}

// writeOthers lists the endpoints whose certificate was found nowhere on the host.
func writeOthers(b *bytes.Buffer, others []certmedic.Certificate) {
	if len(others) == 0 {
		b.WriteString(initWatch)
		return
	}
	b.WriteString("\n# These serve certificates that were found nowhere on this host; they are looked at only.\nwatch:\n")
	for _, c := range others {
		for _, e := range c.Endpoints {
			b.WriteString("  - ")
			writeEndpoint(b, e)
		}
	}
}

func writeEndpoint(b *bytes.Buffer, e certmedic.Endpoint) {
	fmt.Fprintf(b, "{address: %s, protocol: %s", quote(e.Address), quote(protocolOr(e.Protocol)))
	if e.ServerName != "" {
		fmt.Fprintf(b, ", server_name: %s", quote(e.ServerName))
	}
	b.WriteString("}\n")
}

const initHead = `# certmedic.yml: which certificates are watched, and what may be done about them.
# Every key is explained in docs/configuration.md; check changes with: certmedic config check

# certmedic only looks, unless this ceiling AND a certificate's own mode say otherwise.
remediation:
  mode: observe        # to let certmedic act: auto

probe:
  interval: 1m         # the time between two handshakes with an endpoint
`

const initExample = `
# Nothing was found on this host. A certificate looks like this:
#certificates:
#  - name: shop
#    source: {certbot: {lineage: shop.example.com}}
#    endpoints:
#      - {address: "shop.example.com:443"}
#    remediation: {mode: auto, allow: [redeploy]}
`

const initWatch = `
# What belongs to others is looked at, and never acted for.
#watch:
#  - {address: "api.example.com:443"}
#  - {address: "mail.example.com", protocol: smtp}
#  - {file: /etc/ssl/certs/own/*.pem}
`

const initTail = `
alerting:
  receivers:
    - {name: log, log: {}}
    #- {name: hook, webhook: {url: "https://monitoring.example.com/webhook"}}
  routes:
    - {to: [log], events: true}
`

// initDiscover keeps looking for certificates in the trees where some were found, and for
// the endpoints of the servers that are there, so that what is new tomorrow is watched, too.
func initDiscover(host []certmedic.Certificate, servers []string) string {
	dirs := map[string]bool{}
	for _, c := range host {
		if c.Source.Kind == certmedic.SourceCertbot {
			dirs[c.Source.ConfigDir] = true
		}
	}
	if len(dirs) == 0 {
		dirs[defaultCertbotDir] = true
	}
	text := "\n# What is not listed below is found here, and observed.\ndiscover:\n"
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		text += "  - certbot: {config_dir: " + quote(dir) + "}\n"
	}
	for _, server := range servers {
		text += "  - " + server + ":\n"
	}
	if slices.Contains(servers, "nginx") {
		text += "  # As nginx itself sees its configuration, by a command, instead:\n  #- nginx: {command: [nginx, -T]}\n"
	}
	return text + "  # Targets of Prometheus:\n  #- file_sd: {files: [/etc/certmedic/targets/*.yml]}\n"
}

func writeCertificate(b *bytes.Buffer, c certmedic.Certificate) {
	fmt.Fprintf(b, "  - name: %s\n", quote(c.Name))
	writeSource(b, c.Source)
	if len(c.Endpoints) > 0 {
		b.WriteString("    endpoints:\n")
	} else {
		b.WriteString("    # No service that uses it was found. Name what clients connect to:\n" +
			"    #endpoints:\n    #  - {address: \"www.example.com:443\"}\n")
	}
	for _, e := range c.Endpoints {
		b.WriteString("      - ")
		writeEndpoint(b, e)
	}
	b.WriteString("    # To let certmedic run the deployment again where it failed:\n" +
		"    #remediation: {mode: auto, allow: [redeploy]}\n")
}

func writeSource(b *bytes.Buffer, s certmedic.Source) {
	if s.Kind == certmedic.SourceCertbot {
		fmt.Fprintf(b, "    source: {certbot: {config_dir: %s, lineage: %s}}\n", quote(s.ConfigDir), quote(s.Lineage))
		return
	}
	fmt.Fprintf(b, "    source: {files: {cert: %s", quote(s.Cert))
	if s.Key != "" {
		fmt.Fprintf(b, ", key: %s", quote(s.Key))
	}
	if s.Chain != "" {
		fmt.Fprintf(b, ", chain: %s", quote(s.Chain))
	}
	b.WriteString("}}\n")
}

// quote writes a string so that YAML reads the same string, whatever it holds.
func quote(s string) string { return strconv.Quote(s) }

// freeName makes a name that the configuration accepts and that is not taken yet.
func freeName(name string, taken map[string]bool) string {
	name = strings.Map(func(r rune) rune {
		if isName(string(r)) {
			return r
		}
		return '-'
	}, name)
	if name == "" {
		name = "certificate"
	}
	free := name
	for n := 2; taken[free]; n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	taken[free] = true
	return free
}
