// Package dnsd is a DNS server for tests and for the laboratory: it answers over UDP
// and TCP on one loopback port from a zone that can be changed while it runs, and can
// be told to fail for a name.
//
// A name is looked up as it is, then as [Any]. What the zone does not hold does not
// exist; a name that it holds without records of the asked type gets an empty answer.
//
// It holds no keys and signs nothing: it answers as a resolver does that has validated
// what it tells, for the domains that it is told to vouch for.
package dnsd

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Any is the name under which answers for every other name are set.
const Any = "*"

// Fault is a way in which a lookup goes wrong.
type Fault string

// The faults of lookups.
const (
	None     Fault = ""         // answer as the zone says
	NXDomain Fault = "nxdomain" // the name does not exist
	ServFail Fault = "servfail" // the server failed
	Refused  Fault = "refused"  // the server does not answer to this client
	Stall    Fault = "stall"    // no answer at all
	Truncate Fault = "truncate" // UDP says: ask over TCP; TCP answers
)

// Faults lists every fault that can be set, without [None].
func Faults() []Fault { return []Fault{NXDomain, ServFail, Refused, Stall, Truncate} }

// ParseFault returns the fault of that name. The empty name and "none" are [None].
func ParseFault(name string) (Fault, error) {
	if name == "" || name == "none" {
		return None, nil
	}
	if !slices.Contains(Faults(), Fault(name)) {
		return None, fmt.Errorf("unknown fault %q, there are %q", name, Faults())
	}
	return Fault(name), nil
}

const (
	ttl          = 1  // seconds; the laboratory changes its mind often
	portAttempts = 20 // to find a port that is free for TCP and UDP
	stopTimeout  = 2 * time.Second
)

// Server is a running DNS server.
type Server struct {
	addr    string
	servers []*dns.Server
	ended   sync.WaitGroup
	release func() bool

	mu     sync.RWMutex
	zone   map[string][]dns.RR
	faults map[string]Fault
	signed map[string]bool // domains that DNSSEC is taken to vouch for
}

// Start runs a server at listen (host:port; empty is a free port of 127.0.0.1) until
// Stop is called or ctx ends. Its zone is empty.
func Start(ctx context.Context, listen string) (*Server, error) {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	stream, packets, err := listenBoth(ctx, listen)
	if err != nil {
		return nil, fmt.Errorf("starting the lab DNS server: %w", err)
	}
	s := &Server{addr: stream.Addr().String(), zone: map[string][]dns.RR{}, faults: map[string]Fault{}, signed: map[string]bool{}}
	s.servers = []*dns.Server{{Listener: stream, Handler: s}, {PacketConn: packets, Handler: s}}
	for _, server := range s.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		s.ended.Go(func() { _ = server.ActivateAndServe() }) // it ends by Stop only
		<-started
	}
	s.release = context.AfterFunc(ctx, s.close)
	return s, nil
}

// Addr returns the host:port of the server, for both UDP and TCP.
func (s *Server) Addr() string { return s.addr }

// Set replaces the records of a name. Each record is a type and its data as a zone
// file has them: "A 127.0.0.1", "CNAME other.test.", "CAA 0 issue \"ca.test\"". Without
// records the name exists, but has nothing.
func (s *Server) Set(name string, records ...string) error {
	parsed := make([]dns.RR, 0, len(records))
	for _, record := range records {
		rr, err := dns.NewRR(fmt.Sprintf("%s %d IN %s", zoneName(name), ttl, record))
		if err != nil {
			return fmt.Errorf("setting %q to %q: %w", name, record, err)
		}
		parsed = append(parsed, rr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone[key(name)] = parsed
	return nil
}

// Remove makes a name unknown.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.zone, key(name))
}

// Fail makes lookups of a name go wrong, and right again with [None]. The name [Any]
// means every name that has no fault of its own.
func (s *Server) Fail(name string, fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault == None {
		delete(s.faults, key(name))
		return
	}
	s.faults[key(name)] = fault
}

// Sign makes answers about a domain and the names below it carry the AD bit, for those
// who ask for it, or no longer so. An answer that leads through aliases carries it when
// all of their names do.
func (s *Server) Sign(domain string, signed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed[key(domain)] = signed
}

// Stop ends the server and waits for it.
func (s *Server) Stop() {
	s.release()
	s.close()
	s.ended.Wait()
}

// ServeDNS answers one question; it is what the DNS library calls.
func (s *Server) ServeDNS(w dns.ResponseWriter, request *dns.Msg) {
	_, datagram := w.RemoteAddr().(*net.UDPAddr)
	answer := s.answer(request, datagram)
	if answer == nil {
		return
	}
	_ = w.WriteMsg(answer) // a client that is gone needs no answer
}

func (s *Server) answer(request *dns.Msg, datagram bool) *dns.Msg {
	answer := new(dns.Msg)
	if len(request.Question) != 1 {
		return answer.SetRcode(request, dns.RcodeFormatError)
	}
	answer.SetReply(request)
	answer.RecursionAvailable = true
	question := request.Question[0]

	s.mu.RLock()
	defer s.mu.RUnlock()
	switch s.fault(question.Name) {
	case Stall:
		return nil
	case NXDomain:
		return answer.SetRcode(request, dns.RcodeNameError)
	case ServFail:
		return answer.SetRcode(request, dns.RcodeServerFailure)
	case Refused:
		return answer.SetRcode(request, dns.RcodeRefused)
	case Truncate:
		if datagram {
			answer.Truncated = true
			return answer
		}
	}
	if !s.lookup(answer, question) {
		answer.SetRcode(request, dns.RcodeNameError)
	}
	answer.AuthenticatedData = asksForAD(request) && s.vouchesFor(answer)
	return answer
}

// asksForAD reports whether the client wants to know what DNSSEC says (RFC 6840, 5.7).
func asksForAD(request *dns.Msg) bool {
	options := request.IsEdns0()
	return request.AuthenticatedData || options != nil && options.Do()
}

// vouchesFor reports whether every name of the answer is in a signed domain.
func (s *Server) vouchesFor(answer *dns.Msg) bool {
	names := []string{answer.Question[0].Name}
	for _, record := range answer.Answer {
		names = append(names, record.Header().Name)
		if alias, ok := record.(*dns.CNAME); ok {
			names = append(names, alias.Target)
		}
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !s.isSigned(name) })
}

func (s *Server) isSigned(name string) bool {
	for domain, signed := range s.signed {
		if signed && dns.IsSubDomain(domain, key(name)) {
			return true
		}
	}
	return false
}

// lookup adds the records that answer the question, along a chain of CNAMEs, and
// reports whether the name exists.
func (s *Server) lookup(answer *dns.Msg, question dns.Question) bool {
	const links = 8
	name := question.Name
	for range links {
		records, known := s.records(name)
		if !known {
			return len(answer.Answer) > 0
		}
		next := ""
		for _, record := range records {
			alias, isAlias := record.(*dns.CNAME)
			if record.Header().Rrtype != question.Qtype && !isAlias {
				continue
			}
			found := dns.Copy(record)
			found.Header().Name = name
			answer.Answer = append(answer.Answer, found)
			if isAlias && question.Qtype != dns.TypeCNAME {
				next = alias.Target
			}
		}
		if next == "" {
			return true
		}
		name = next
	}
	return true
}

func (s *Server) records(name string) ([]dns.RR, bool) {
	if records, known := s.zone[key(name)]; known {
		return records, true
	}
	records, known := s.zone[Any]
	return records, known
}

func (s *Server) fault(name string) Fault {
	if fault, set := s.faults[key(name)]; set {
		return fault
	}
	return s.faults[Any]
}

func (s *Server) close() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	for _, server := range s.servers {
		_ = server.ShutdownContext(ctx) // says so when it was ended before; that is fine
	}
}

// listenBoth finds one port for TCP and UDP.
func listenBoth(ctx context.Context, listen string) (net.Listener, net.PacketConn, error) {
	var config net.ListenConfig
	var last error
	for range portAttempts {
		stream, err := config.Listen(ctx, "tcp", listen)
		if err != nil {
			return nil, nil, err
		}
		packets, err := config.ListenPacket(ctx, "udp", stream.Addr().String())
		if err == nil {
			return stream, packets, nil
		}
		last = err
		_ = stream.Close() // the next attempt gets another port
	}
	return nil, nil, last
}

func key(name string) string {
	if name == Any {
		return Any
	}
	return strings.ToLower(dns.Fqdn(name))
}

// zoneName is the owner name under which a record is parsed; the answer carries the
// name that was asked for.
func zoneName(name string) string {
	if name == Any {
		return "."
	}
	return dns.Fqdn(name)
}
