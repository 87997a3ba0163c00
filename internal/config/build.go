package config

import (
	"net"
	"net/netip"
	"strings"

	"github.com/certmedic/certmedic"
)

// Certificates returns what the configuration lists, as the nouns of the house: first the
// certificates, then the watched addresses, each as a watched certificate that is named by
// its address. Discovered certificates and watched files are for the caller to add, see
// [Config.WatchFiles].
func Certificates(c *Config) []certmedic.Certificate {
	all := make([]certmedic.Certificate, 0, len(c.Certificates)+len(c.Watch))
	for _, configured := range c.Certificates {
		built := configured.build(c.Remediation.Mode, c.Modules)
		if a := configured.ACME(); a != nil {
			built.Source.Directory = a.Directory
		}
		if configured.Source.ACME != nil {
			built.Source.Kind, built.Source.Folder = certmedic.SourceACME, c.ACMEFolder(configured.Name)
		}
		if configured.Source.Shared != nil {
			built.Source.Kind, built.Source.Folder = certmedic.SourceShared, c.SharedFolder(configured.Name)
		}
		built.Nodes = c.nodes(built.Destinations)
		all = append(all, built)
	}
	for _, w := range c.Watch {
		if w.Address != "" {
			all = append(all, w.build(c.Modules))
		}
	}
	return all
}

// WatchFiles returns what is said about watched files; File is a pattern, as
// [filepath.Glob] takes it.
func (c *Config) WatchFiles() []Watch {
	var files []Watch
	for _, w := range c.Watch {
		if w.File != "" {
			files = append(files, w)
		}
	}
	return files
}

func (c Certificate) build(ceiling certmedic.Mode, modules map[string]Module) certmedic.Certificate {
	built := certmedic.Certificate{
		Name:   c.Name,
		Labels: c.Labels,
		Source: c.Source.build(),
		Mode:   ceiling.Lower(c.Remediation.Mode),
		Allow:  c.Remediation.Allow,
	}
	for _, e := range c.Endpoints {
		built.Endpoints = append(built.Endpoints, e.build(modules))
	}
	for i, d := range c.Deploy {
		built.Destinations = append(built.Destinations, d.build(i, c.Name))
	}
	return built
}

func (s Source) build() certmedic.Source {
	switch {
	case s.Certbot != nil:
		return certmedic.Source{
			Kind:      certmedic.SourceCertbot,
			ConfigDir: s.Certbot.ConfigDir,
			Lineage:   s.Certbot.Lineage,
		}
	case s.Files != nil:
		return certmedic.Source{
			Kind:  certmedic.SourceFiles,
			Cert:  s.Files.Cert,
			Key:   s.Files.Key,
			Chain: s.Files.Chain,

			PassphraseFile: s.Files.PassphraseFile,
		}
	default:
		return certmedic.Source{}
	}
}

func (e Endpoint) build(modules map[string]Module) certmedic.Endpoint {
	protocol := protocolOf(e.Protocol, modules[e.Module])
	return certmedic.Endpoint{
		Address:    withPort(e.Address, protocol),
		Protocol:   protocol,
		ServerName: e.ServerName,
		Owned:      e.Owned,
		Pins:       e.Pins,
		Labels:     e.Labels,
		Module:     e.Module,
		Family:     e.Family,
		Addresses:  e.Addresses,
		WithoutSNI: e.WithoutSNI,
	}
}

func (w Watch) build(modules map[string]Module) certmedic.Certificate {
	endpoint := Endpoint{
		Address: w.Address, Protocol: w.Protocol, ServerName: w.ServerName, Labels: w.Labels,
		Module: w.Module, Family: w.Family, Addresses: w.Addresses, WithoutSNI: w.WithoutSNI, Pins: w.Pins,
	}
	return certmedic.Certificate{
		Name:      w.endpointName(modules),
		Labels:    w.Labels,
		Endpoints: []certmedic.Endpoint{endpoint.build(modules)},
		Mode:      certmedic.ModeObserve,
		Watched:   true,
	}
}

// endpointName returns the watched address, and, as one address may serve many names,
// the server name where it is not the address's host.
func (w Watch) endpointName(modules map[string]Module) string {
	address := withPort(w.Address, protocolOf(w.Protocol, modules[w.Module]))
	host, _, _ := net.SplitHostPort(address)
	if w.ServerName == "" || strings.EqualFold(w.ServerName, host) {
		return address
	}
	return address + "/" + w.ServerName
}

// protocolOf returns the protocol of an endpoint: its own, else that of its module.
func protocolOf(protocol string, m Module) string {
	switch {
	case protocol != "":
		return protocol
	case m.Prober == "http":
		return "https"
	default:
		return protocolOr(m.Protocol)
	}
}

func protocolOr(protocol string) string {
	if protocol == "" {
		return "tls"
	}
	return protocol
}

// withPort adds the port of the protocol to an address that has none.
func withPort(address, protocol string) string {
	number, ok := port(protocolOr(protocol))
	if !ok || address == "" {
		return address
	}
	if ip, err := netip.ParseAddr(strings.Trim(address, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), number)
	}
	if !strings.Contains(address, ":") {
		return net.JoinHostPort(address, number)
	}
	return address
}
