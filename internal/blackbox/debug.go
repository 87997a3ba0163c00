package blackbox

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// debug tells the whole story of a probe in plain text, in blackbox_exporter's three
// parts.
func (a *answer) debug(g prometheus.Gatherer) []byte {
	var b bytes.Buffer
	b.WriteString("Logs for the probe:\n")
	a.log(&b)
	b.WriteString("\n\n\nMetrics that would have been returned:\n")
	families, err := g.Gather()
	if err != nil {
		fmt.Fprintf(&b, "Error gathering metrics: %v\n", err)
	}
	for _, family := range families {
		_, _ = expfmt.MetricFamilyToText(&b, family) // a buffer takes everything
	}
	b.WriteString("\n\n\nModule configuration:\n")
	a.request.module.write(&b)
	return b.Bytes()
}

// log writes one line for each step. What a server sent is quoted.
func (a *answer) log(b *bytes.Buffer) {
	log := slog.New(slog.NewTextHandler(b, nil)).With("module", a.request.moduleName, "target", a.request.target)
	log.Info("beginning probe", "timeout_seconds", a.request.timeout.Seconds())
	if a.refusal != nil {
		log.Error("the target cannot be probed", "err", a.refusal)
	}
	for i := range a.observation.Addresses {
		o := &a.observation.Addresses[i]
		at := log.With("address", o.Address, "decides", o == a.decisive)
		at.Info("probed", "stage", o.Stage, "server_name", o.ServerName, "certificates", len(o.Chain))
		for _, f := range o.Findings {
			at.Warn("found", "code", f.Code, "severity", f.Severity, "detail", f.Detail)
		}
	}
	for _, f := range a.observation.Findings {
		log.Warn("found", "code", f.Code, "severity", f.Severity, "detail", f.Detail)
	}
	if a.refusal == nil && a.decisive == nil {
		log.Error("no address of the module's family", "preferred_ip_protocol", a.request.module.preferred(), "ip_protocol_fallback", a.request.module.Fallback)
	}
	if a.decisive != nil && a.decisive.TLS != nil && versionOf(a.decisive.TLS.Version) < a.request.module.MinVersion {
		log.Error("the version of TLS is too old", "version", a.decisive.TLS.Version)
	}
	if a.success {
		log.Info("probe succeeded", "duration_seconds", a.took.Seconds())
		return
	}
	log.Error("probe failed", "duration_seconds", a.took.Seconds())
}

func (m Module) preferred() string {
	if m.PreferIP == "" {
		return IP6
	}
	return m.PreferIP
}

// write writes the module as YAML. There are no secrets in it.
func (m Module) write(b *bytes.Buffer) {
	protocol := m.Protocol
	if protocol == "" {
		protocol = defaultModule
	}
	fmt.Fprintf(b, "protocol: %s\n", protocol)
	if m.Timeout > 0 {
		fmt.Fprintf(b, "timeout: %s\n", m.Timeout)
	}
	fmt.Fprintf(b, "preferred_ip_protocol: %s\nip_protocol_fallback: %t\n", m.preferred(), m.Fallback)
	fmt.Fprintf(b, "tls_config:\n  insecure_skip_verify: %t\n", m.InsecureSkipVerify)
	if m.ServerName != "" {
		fmt.Fprintf(b, "  server_name: %s\n", strconv.Quote(m.ServerName))
	}
	if m.MinVersion != 0 {
		fmt.Fprintf(b, "  min_version: %s\n", tls.VersionName(m.MinVersion))
	}
	b.WriteString("  roots:\n")
	for _, roots := range m.Roots {
		fmt.Fprintf(b, "    - %s\n", strconv.Quote(roots.Name))
	}
}
