package resolve

import (
	"fmt"
	"slices"
)

// The reasons why a host has no addresses.
const (
	ReasonNXDomain = "nxdomain" // the name does not exist (RFC 8020)
	ReasonNoData   = "nodata"   // the name exists, without A and AAAA records (RFC 2308)
	ReasonOther    = "other"    // the server gave another response code, or a broken answer
	ReasonRefused  = "refused"  // the server does not answer for us
	ReasonServFail = "servfail" // the server could not find out, for example by DNSSEC
	ReasonNetwork  = "network"  // the server could not be reached
	ReasonTimeout  = "timeout"  // no answer in time
)

// rank orders reasons: one that may pass by itself outweighs one that is an answer.
func rank(reason string) int {
	return slices.Index([]string{
		ReasonNXDomain, ReasonNoData, ReasonOther, ReasonRefused, ReasonServFail, ReasonNetwork, ReasonTimeout,
	}, reason)
}

// Error says why a host could not be resolved.
type Error struct {
	Host   string
	Reason string // one of the Reason constants
	Server string // host:port of the server that was asked last; empty where none was
	Detail string // what was seen, where the reason alone does not tell
}

// Error returns the whole story in one sentence.
func (e *Error) Error() string {
	text := map[string]string{
		ReasonNXDomain: "no such name (NXDOMAIN)",
		ReasonNoData:   "the name has no addresses (no A or AAAA records)",
		ReasonOther:    "the server's answer is of no use",
		ReasonRefused:  "the server refused to answer (REFUSED)",
		ReasonServFail: "the server could not find out (SERVFAIL)",
		ReasonNetwork:  "the server cannot be reached",
		ReasonTimeout:  "no answer in time",
	}[e.Reason]
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Server != "" {
		text += ", asked " + e.Server
	}
	return fmt.Sprintf("resolving %q: %s", e.Host, text)
}

// Empty reports whether it is an answer: there is nothing.
func (e *Error) Empty() bool { return e.Reason == ReasonNXDomain || e.Reason == ReasonNoData }

// about returns the error as one about a host: those that are kept are shared.
func (e *Error) about(host string) *Error {
	other := *e
	other.Host = host
	return &other
}

// worse returns the error that says more about whether the name can be resolved.
func worse(a, b *Error) *Error {
	if a == nil || (b != nil && rank(b.Reason) > rank(a.Reason)) {
		return b
	}
	return a
}
