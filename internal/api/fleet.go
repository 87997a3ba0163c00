package api

import (
	"context"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// Fleet is the answer to GET /api/v1/fleet: what all members of a cluster see, put together by one of them. On a
// single host it is what that sees.
type Fleet struct {
	Time         time.Time          `json:"time"`
	Status       certmedic.Status   `json:"status"` // the worst of all members
	Members      []FleetMember      `json:"members"`
	Certificates []FleetCertificate `json:"certificates"` // the worst first
}

// FleetMember is one member, and what it says of itself.
type FleetMember struct {
	Member
	Version      string           `json:"version,omitempty"`
	Status       certmedic.Status `json:"status"`          // of all that it watches; unknown where it did not answer
	Error        string           `json:"error,omitempty"` // why nothing is known of it
	Certificates int              `json:"certificates"`    // that it watches
	Degraded     []string         `json:"degraded,omitempty"`
}

// FleetCertificate is a certificate as the members see it.
type FleetCertificate struct {
	Name   string                      `json:"certificate"`
	Status certmedic.Status            `json:"status"`  // the worst that a member sees
	Leader string                      `json:"leader"`  // who acts for it; empty: nobody, or each for its own
	SeenBy map[string]certmedic.Status `json:"seen_by"` // by the member that watches it
	Member string                      `json:"member"`  // whose view this is: that of the one that acts, else the worst
	View   watchdog.View               `json:"view"`
}

// Fleet asks for what all members see.
func (c *Client) Fleet(ctx context.Context) (Fleet, error) {
	var f Fleet
	err := c.get(ctx, "/api/v1/fleet", nil, &f)
	return f, err
}
