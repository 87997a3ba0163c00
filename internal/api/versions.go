package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// DenyRequest is the body of POST /api/v1/keys, which denies a key for ever.
type DenyRequest struct {
	Key    string `json:"key"` // a certificate, whose stored key is meant, or the SHA-256 of a public key
	Why    string `json:"why,omitempty"`
	By     string `json:"by,omitempty"` // the person, where no daemon runs; a daemon asks the kernel
	DryRun bool   `json:"dry_run,omitempty"`

	Expect certmedic.Fingerprint `json:"expect,omitempty"` // the key that it must be; empty: any
}

// DenyAnswer says which key was denied, or for a dry run would be, and what it was used for.
type DenyAnswer struct {
	Entry  deny.Entry          `json:"entry"`
	Known  bool                `json:"known"`   // it was on the list before
	Stored []string            `json:"stored"`  // certificates whose source holds it now
	Served []string            `json:"served"`  // certificates of which an address served it last
	Kept   []snapshot.Snapshot `json:"removed"` // the kept versions that are removed
}

// Snapshots asks for the kept versions of a certificate, those that were issued last first.
func (c *Client) Snapshots(ctx context.Context, certificate string) ([]snapshot.Snapshot, error) {
	var all []snapshot.Snapshot
	err := c.get(ctx, "/api/v1/snapshots", url.Values{"certificate": {certificate}}, &all)
	return all, err
}

// Denied asks for the list of denied keys.
func (c *Client) Denied(ctx context.Context) ([]deny.Entry, error) {
	var all []deny.Entry
	err := c.get(ctx, "/api/v1/keys", nil, &all)
	return all, err
}

// Deny asks for a key to be denied.
func (c *Client) Deny(ctx context.Context, r DenyRequest) (DenyAnswer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return DenyAnswer{}, fmt.Errorf("encoding the request: %w", err)
	}
	var answer DenyAnswer
	err = c.do(ctx, http.MethodPost, "/api/v1/keys", bytes.NewReader(body), &answer)
	return answer, err
}
