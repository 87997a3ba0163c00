package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the answer size that is offered by EDNS0 (RFC 6891); larger answers are
// truncated and asked for over TCP, which keeps clear of IP fragmentation.
const udpSize = 1232

// askServer asks one server one question, over TCP where the answer does not fit a
// datagram, and without EDNS0 where the server does not know it.
func (s settings) askServer(ctx context.Context, server, name string, kind uint16) answer {
	query := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind).SetEdns0(udpSize, false)
	reply, err := s.exchange(ctx, "udp", server, query)
	if err == nil && reply.Rcode == dns.RcodeFormatError {
		query = new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
		reply, err = s.exchange(ctx, "udp", server, query)
	}
	if err == nil && reply.Truncated {
		reply, err = s.exchange(ctx, "tcp", server, query)
	}
	if err != nil {
		return answer{err: &Error{Host: name, Reason: reasonFor(err), Server: server, Detail: detailFor(err)}}
	}
	return read(reply, server, name)
}

// exchange makes one exchange over a connection of its own, which has a port of its own.
func (s settings) exchange(ctx context.Context, network, server string, query *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.timeout, time.Millisecond))
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()

	client := dns.Client{Net: network, Timeout: s.timeout}
	reply, _, err := client.ExchangeWithConnContext(ctx, query, &dns.Conn{Conn: raw})
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	if !answers(reply, query.Question[0]) {
		return nil, errors.New("the answer is to another question")
	}
	return reply, nil
}

func answers(reply *dns.Msg, asked dns.Question) bool {
	return reply.Response && len(reply.Question) == 1 && reply.Question[0].Qtype == asked.Qtype &&
		strings.EqualFold(reply.Question[0].Name, asked.Name)
}

// read takes the addresses out of a reply. Following aliases is the server's work: all
// address records of the answer count.
func read(reply *dns.Msg, server, name string) answer {
	switch reply.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return answer{err: &Error{Host: name, Reason: ReasonNXDomain, Server: server}}
	case dns.RcodeServerFailure:
		return answer{err: &Error{Host: name, Reason: ReasonServFail, Server: server}}
	case dns.RcodeRefused:
		return answer{err: &Error{Host: name, Reason: ReasonRefused, Server: server}}
	default:
		code := fmt.Sprintf("response code %s", dns.RcodeToString[reply.Rcode])
		return answer{err: &Error{Host: name, Reason: ReasonOther, Server: server, Detail: code}}
	}
	var addresses []netip.Addr
	for _, record := range reply.Answer {
		var ip net.IP
		switch record := record.(type) {
		case *dns.A:
			ip = record.A
		case *dns.AAAA:
			ip = record.AAAA
		}
		if address, ok := netip.AddrFromSlice(ip); ok {
			addresses = append(addresses, address)
		}
	}
	if len(addresses) == 0 {
		return answer{err: &Error{Host: name, Reason: ReasonNoData, Server: server}}
	}
	return answer{addresses: addresses}
}

func reasonFor(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ReasonTimeout
	case errors.As(err, &network) && network.Timeout():
		return ReasonTimeout
	case errors.As(err, new(*net.OpError)):
		return ReasonNetwork
	default:
		return ReasonOther
	}
}

// detailFor returns the text of errors that the reason does not say already.
func detailFor(err error) string {
	if reasonFor(err) == ReasonTimeout {
		return ""
	}
	return fmt.Sprintf("%q", err.Error())
}
