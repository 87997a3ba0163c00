package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the answer size that is offered by EDNS0 (RFC 6891); larger answers are
// truncated and asked for over TCP, which keeps clear of IP fragmentation.
const udpSize = 1232

// askServer asks one server one question, over TCP where the answer does not fit a
// datagram, and without EDNS0 where the server does not know it.
func (s settings) askServer(ctx context.Context, server string, q question) answer {
	query := newQuery(q).SetEdns0(udpSize, q.secure)
	reply, err := s.exchange(ctx, "udp", server, query)
	if err == nil && reply.Rcode == dns.RcodeFormatError {
		query = newQuery(q)
		reply, err = s.exchange(ctx, "udp", server, query)
	}
	if err == nil && reply.Truncated {
		reply, err = s.exchange(ctx, "tcp", server, query)
	}
	if err != nil {
		return answer{err: &Error{Host: q.name, Reason: reasonFor(err), Server: server, Detail: detailFor(err)}}
	}
	return s.read(reply, server, q)
}

// newQuery asks for DNSSEC's verdict where it is wanted: by the AD bit (RFC 6840,
// section 5.7), and, with EDNS0, by DO for the resolvers that go by that one alone.
func newQuery(q question) *dns.Msg {
	query := new(dns.Msg).SetQuestion(q.name, q.kind)
	query.AuthenticatedData = q.secure
	return query
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

// read takes the answer to the question out of a reply. Following aliases is the
// server's work.
func (s settings) read(reply *dns.Msg, server string, q question) answer {
	got := answer{Answer: follow(reply.Answer, q.name, q.kind)}
	got.Authenticated = reply.AuthenticatedData && s.believes(server)
	failure := &Error{Host: q.name, Server: server}
	switch reply.Rcode {
	case dns.RcodeSuccess:
		if len(got.Records) > 0 {
			return got
		}
		failure.Reason = ReasonNoData
	case dns.RcodeNameError:
		failure.Reason = ReasonNXDomain
	case dns.RcodeServerFailure:
		failure.Reason = ReasonServFail
	case dns.RcodeRefused:
		failure.Reason = ReasonRefused
	default:
		failure.Reason = ReasonOther
		failure.Detail = fmt.Sprintf("response code %s", dns.RcodeToString[reply.Rcode])
	}
	if ttl := emptyTTL(reply.Ns); len(got.Aliases) == 0 || ttl < got.TTL {
		got.TTL = ttl
	}
	got.Records, got.err = nil, failure
	return got
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
