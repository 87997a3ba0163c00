package blackbox

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// debug tells the whole story of a probe in plain text, in blackbox_exporter's three
// parts, with the presented certificates as a fourth.
func (a *answer) debug() []byte {
	var b bytes.Buffer
	b.WriteString("Logs for the probe:\n")
	a.log(&b)
	b.WriteString("\n\n\nMetrics that would have been returned:\n")
	registry := prometheus.NewRegistry()
	a.register(registry)
	families, err := registry.Gather()
	if err != nil {
		fmt.Fprintf(&b, "Error gathering metrics: %v\n", err)
	}
	for _, family := range families {
		_, _ = expfmt.MetricFamilyToText(&b, family) // a buffer takes everything
	}
	b.WriteString("\n\n\nModule configuration:\n")
	a.request.module.write(&b)
	a.writeChain(&b)
	return b.Bytes()
}

// writeChain writes what the deciding address presented in PEM (RFC 7468).
func (a *answer) writeChain(b *bytes.Buffer) {
	if a.decisive == nil || len(a.kept[a.decisive.Address].Certs) == 0 {
		return
	}
	b.WriteString("\n\n\nCertificates that were presented:\n")
	for i, c := range a.kept[a.decisive.Address].Certs {
		fmt.Fprintf(b, "# %d: subject %q, issuer %q, until %s\n", i, c.Subject, c.Issuer, c.NotAfter.UTC().Format("2006-01-02T15:04:05Z"))
		_ = pem.Encode(b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes everything
	}
}

// log writes one line for each step. What a server sent is quoted.
func (a *answer) log(b *bytes.Buffer) {
	log := slog.New(slog.NewTextHandler(b, nil)).With("module", a.request.moduleName, "target", a.request.shown)
	log.Info("beginning probe", "probe", a.request.module.prober(), "timeout_seconds", a.request.timeout.Seconds())
	if a.refusal != nil {
		log.Error("the target cannot be probed", "err", a.refusal)
	}
	a.logHops(log)
	a.logAddresses(log)
	module := a.request.module
	switch {
	case a.decisive == nil && len(a.observation.Addresses) > 0:
		log.Error("no address of the module's family", "preferred_ip_protocol", module.preferred(), "ip_protocol_fallback", module.Fallback)
	case a.decisive != nil && a.decisive.TLS != nil && versionOf(a.decisive.TLS.Version) < module.MinVersion:
		log.Error("the version of TLS is too old", "version", a.decisive.TLS.Version)
	}
	if a.scriptFailed {
		log.Error("the peer did not say what the script expects")
	}
	if a.success {
		log.Info("probe succeeded", "duration_seconds", a.took.Seconds())
		return
	}
	log.Error("probe failed", "duration_seconds", a.took.Seconds())
}

func (a *answer) logHops(log *slog.Logger) {
	if a.fetched == nil {
		return
	}
	for i, hop := range a.fetched.Hops {
		log.Info(
			"made HTTP request", "roundtrip", i, "url", hop.URL, "address", hop.Address, "server_name", hop.ServerName,
			"resolve", hop.Resolve, "connect", hop.Connect, "tls", hop.Handshake, "processing", hop.Processing, "transfer", hop.Transfer,
		)
	}
	if a.fetched.Status != 0 {
		log.Info("received HTTP response", "status_code", a.fetched.Status, "version", a.fetched.Version, "redirects", a.fetched.Redirects)
	}
	for _, failure := range a.fetched.Failures {
		log.Error("HTTP", "err", failure)
	}
}

func (a *answer) logAddresses(log *slog.Logger) {
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
}
