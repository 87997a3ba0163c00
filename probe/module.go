package probe

import (
	"time"

	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// Module is a way to probe that endpoints name. Its zero value is the usual way.
type Module struct {
	Timeout    time.Duration   // of each address; 0: the prober's
	ServerName string          // for endpoints that have none; empty: the host
	Roots      []inspect.Roots // in place of the prober's; nil: those
	SkipVerify bool            // whether a chain that does not verify is no finding
	Live       *live.Settings  // how handshakes are made; nil: as usual
}

// proxied reports whether a proxy connects, and looks hosts up.
func (m Module) proxied() bool { return m.Live != nil && m.Live.Proxy != nil }
