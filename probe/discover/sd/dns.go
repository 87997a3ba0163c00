package sd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// lookupTimeout bounds the lookup of one name.
const lookupTimeout = 10 * time.Second

// Query is what to look up in DNS, in the form of dns_sd.
type Query struct {
	Names    []string // such as _imaps._tcp.example.com for SRV, example.com for MX, www.example.com for A
	Type     string   // SRV (also where empty), MX, A or AAAA
	Port     uint16   // of A, AAAA, and MX, whose is 25 where it is 0
	Protocol string   // of the endpoints; empty: smtp for MX, what the service of SRV means, else tls

	Refresh time.Duration // how often they are looked up, see [Memory]; 0: at every look
}

// Resolver looks names up; [net.Resolver] is one. With an empty service, LookupSRV takes the
// name as it is.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
}

// Lookup returns the endpoints that DNS names, in the order of the names and then of their
// addresses, whatever the order of the records, which resolvers change. A name of type A or AAAA becomes one endpoint,
// for all of its addresses of that family are probed anyway, whenever they change. What one
// name lacks does not hide the others; the error joins all.
func Lookup(ctx context.Context, resolver Resolver, q Query) ([]certmedic.Endpoint, error) {
	var out []certmedic.Endpoint
	var errs []error
	for _, name := range q.Names {
		found, err := q.lookup(ctx, resolver, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("looking up %q: %w", name, err))
		}
		slices.SortFunc(found, func(a, b certmedic.Endpoint) int { return strings.Compare(a.Address, b.Address) })
		out = append(out, found...)
		if len(out) > maxTargets {
			return out[:maxTargets], errors.Join(append(errs, fmt.Errorf("more than %d targets", maxTargets))...)
		}
	}
	return out, errors.Join(errs...)
}

func (q Query) lookup(ctx context.Context, resolver Resolver, name string) ([]certmedic.Endpoint, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	switch strings.ToUpper(q.Type) {
	case "", "SRV":
		return q.services(ctx, resolver, name)
	case "MX":
		return q.exchangers(ctx, resolver, name)
	case "A", "AAAA":
		if q.Port == 0 {
			return nil, errors.New("a port is needed")
		}
		e := q.endpoint(name, q.Port, "tls")
		e.Family = "ip4"
		if strings.EqualFold(q.Type, "AAAA") {
			e.Family = "ip6"
		}
		return []certmedic.Endpoint{e}, nil
	default:
		return nil, fmt.Errorf("type %q is none of SRV, MX, A, AAAA", q.Type)
	}
}

// services reads SRV records (RFC 2782); the target "." says that there is no such service.
func (q Query) services(ctx context.Context, resolver Resolver, name string) ([]certmedic.Endpoint, error) {
	_, records, err := resolver.LookupSRV(ctx, "", "", name)
	if err != nil {
		return nil, err
	}
	var out []certmedic.Endpoint
	for _, r := range records {
		if host := strings.TrimSuffix(r.Target, "."); host != "" {
			out = append(out, q.endpoint(host, r.Port, serviceProtocol(name)))
		}
	}
	return out, nil
}

// exchangers reads MX records; the exchanger "." takes no mail (RFC 7505).
func (q Query) exchangers(ctx context.Context, resolver Resolver, name string) ([]certmedic.Endpoint, error) {
	records, err := resolver.LookupMX(ctx, name)
	if err != nil {
		return nil, err
	}
	port := q.Port
	if port == 0 {
		port = 25
	}
	var out []certmedic.Endpoint
	for _, r := range records {
		if host := strings.TrimSuffix(r.Host, "."); host != "" {
			out = append(out, q.endpoint(host, port, "smtp"))
		}
	}
	return out, nil
}

func (q Query) endpoint(host string, port uint16, protocol string) certmedic.Endpoint {
	if q.Protocol != "" {
		protocol = q.Protocol
	}
	address := net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), strconv.Itoa(int(port)))
	return certmedic.Endpoint{Address: address, Protocol: protocol}
}

// serviceProtocol returns the protocol of a service of IANA's registry, as in
// _imaps._tcp.example.com; tls where it begins with TLS or is not known.
func serviceProtocol(name string) string {
	service, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch service = strings.TrimPrefix(service, "_"); service {
	case "smtp", "imap", "imaps", "pop3", "pop3s", "ldap", "ldaps", "ftp", "ftps", "sieve", "nntp", "nntps", "https":
		return service
	case "submission":
		return "smtp"
	case "submissions":
		return "smtps"
	case "xmpp-client":
		return "xmpp"
	case "xmpp-server":
		return "xmpp-server"
	case "xmpps-client":
		return "xmpps"
	case "domain-s":
		return "dot"
	default:
		return "tls"
	}
}
