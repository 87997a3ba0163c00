// Package sslseries turns what a TLS handshake showed into the ssl_* series of
// ssl_exporter. Package blackbox calls it for modules that ask for them.
//
// It promises ssl_exporter's names, labels and values, with these differences: the series
// are there also when the chain does not verify; two certificates with the same serial
// number and issuer stay two; and what a server did not say is absent, instead of the
// status 0 (good) without a staple and a date before the common era without an end.
package sslseries

import (
	"bytes"
	"crypto/x509"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ocsp"

	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/probe/inspect"
)

// Facts are what the handshake with one address showed.
type Facts struct {
	Success bool
	Prober  string              // tcp or https
	Version string              // such as "TLS 1.3"; empty without a handshake
	Certs   []*x509.Certificate // as presented, leaf first
	Staple  []byte              // the OCSP response that came with the handshake, DER
	Roots   []inspect.Roots     // that paths are built to
	Now     time.Time           // when it was seen
}

// Register adds the series.
func Register(r prometheus.Registerer, f Facts) {
	success := 0.0
	if f.Success {
		success = 1
	}
	set(r, "probe_success", "If the probe was a success", success)
	vec(r, "prober", "The prober used by the exporter to connect to the target", "prober").WithLabelValues(f.Prober).Set(1)
	if f.Version != "" {
		vec(r, "tls_version_info", "The TLS version used", "version").WithLabelValues(f.Version).Set(1)
	}
	if len(f.Certs) == 0 {
		return
	}
	presented := newDates(r, "cert")
	presented.add(f.Certs)
	judged := inspect.Chain(f.Certs, inspect.Options{Now: f.Now, Roots: f.Roots})
	verified := newDates(r, "verified_cert", "chain_no")
	for i, path := range latestFirst(judged.Chains) {
		verified.add(path, strconv.Itoa(i))
	}
	registerOCSP(r, f, issuerOf(f.Certs, judged.Chains))
}

// latestFirst returns the paths, each once, the one that lasts longest first.
func latestFirst(paths [][]*x509.Certificate) [][]*x509.Certificate {
	same := func(a, b []*x509.Certificate) bool { return slices.EqualFunc(a, b, (*x509.Certificate).Equal) }
	var each [][]*x509.Certificate
	for _, path := range paths {
		if !slices.ContainsFunc(each, func(other []*x509.Certificate) bool { return same(path, other) }) {
			each = append(each, path)
		}
	}
	slices.SortStableFunc(each, func(a, b []*x509.Certificate) int { return end(b).Compare(end(a)) })
	return each
}

// end is the end of the first certificate of a path to end.
func end(path []*x509.Certificate) time.Time {
	return slices.MinFunc(path, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}

// registerOCSP adds what the stapled response says, provided that it is signed for the
// leaf. The series that tells whether there is one is always there.
func registerOCSP(r prometheus.Registerer, f Facts, issuer *x509.Certificate) {
	stapled := 0.0
	if len(f.Staple) > 0 {
		stapled = 1
	}
	set(r, "ocsp_response_stapled", "If the connection state contains a stapled OCSP response", stapled)
	if stapled == 0 || issuer == nil {
		return
	}
	response, err := ocsp.ParseResponseForCert(f.Staple, f.Certs[0], issuer)
	if err != nil {
		return
	}
	set(r, "ocsp_response_status", "The status in the OCSP response 0=Good 1=Revoked 2=Unknown", float64(response.Status))
	moments := []struct {
		name, field string
		at          time.Time
	}{
		{"produced_at", "producedAt", response.ProducedAt},
		{"this_update", "thisUpdate", response.ThisUpdate},
		{"next_update", "nextUpdate", response.NextUpdate},
		{"revoked_at", "revocationTime", response.RevokedAt},
	}
	for _, m := range moments {
		if !m.at.IsZero() {
			set(r, "ocsp_response_"+m.name, "The "+m.field+" value in the OCSP response, expressed as a Unix Epoch Time", float64(m.at.Unix()))
		}
	}
}

// issuerOf returns the certificate that signed the leaf, presented or of a path to a root;
// nil where there is none.
func issuerOf(certs []*x509.Certificate, paths [][]*x509.Certificate) *x509.Certificate {
	candidates := slices.Concat(append(paths, certs)...)
	for _, c := range candidates {
		if bytes.Equal(c.RawSubject, certs[0].RawIssuer) && certs[0].CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// dates are the two series of the dates of certificates.
type dates struct {
	notAfter, notBefore *prometheus.GaugeVec
	ends                map[string]time.Time
}

func newDates(r prometheus.Registerer, name string, more ...string) *dates {
	labels := append(more, "serial_no", "issuer_cn", "cn", "dnsnames", "ips", "emails", "ou")
	return &dates{
		notAfter:  vec(r, name+"_not_after", "NotAfter expressed as a Unix Epoch Time", labels...),
		notBefore: vec(r, name+"_not_before", "NotBefore expressed as a Unix Epoch Time", labels...),
		ends:      map[string]time.Time{},
	}
}

// add sets the series of the certificates. Where two of them have the same labels, the one
// that ends first is shown.
func (d *dates) add(certs []*x509.Certificate, more ...string) {
	for _, c := range certs {
		labels := append(slices.Clone(more), labelsOf(c)...)
		key := strings.Join(labels, "\x00")
		if before, ok := d.ends[key]; ok && !c.NotAfter.Before(before) {
			continue
		}
		d.ends[key] = c.NotAfter
		d.notAfter.WithLabelValues(labels...).Set(float64(c.NotAfter.Unix()))
		d.notBefore.WithLabelValues(labels...).Set(float64(c.NotBefore.Unix()))
	}
}

func labelsOf(c *x509.Certificate) []string {
	labels := []string{
		c.SerialNumber.String(), c.Issuer.CommonName, c.Subject.CommonName,
		list(c.DNSNames), list(ipStrings(c.IPAddresses)), list(c.EmailAddresses), list(c.Subject.OrganizationalUnit),
	}
	for i, value := range labels {
		labels[i] = redact.Label(value)
	}
	return labels
}

func ipStrings(ips []net.IP) []string {
	all := make([]string, 0, len(ips))
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all
}

// list joins values with a comma before and after each, so that expressions can match
// whole ones.
func list(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return "," + strings.Join(values, ",") + ","
}

func set(r prometheus.Registerer, name, help string, value float64) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "ssl", Name: name, Help: help})
	gauge.Set(value)
	r.MustRegister(gauge)
}

func vec(r prometheus.Registerer, name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "ssl", Name: name, Help: help}, labels)
	r.MustRegister(v)
	return v
}
