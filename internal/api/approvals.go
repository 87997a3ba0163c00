package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/certmedic/certmedic/remediate/approval"
)

// WordRequest is the body of POST /api/v1/plans/approve and /api/v1/plans/reject. Who says it is not
// for the client to say: it is the socket's peer, or who logged in.
type WordRequest struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`

	Approve bool   `json:"-"`
	By      string `json:"-"`
}

// Plans asks for the plans that wait for a person, and what became of those before.
func (c *Client) Plans(ctx context.Context) ([]approval.Approval, error) {
	var all []approval.Approval
	err := c.get(ctx, "/api/v1/plans", nil, &all)
	return all, err
}

// Say approves or rejects a plan, and returns it as it is then.
func (c *Client) Say(ctx context.Context, r WordRequest) (approval.Approval, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return approval.Approval{}, fmt.Errorf("encoding the request: %w", err)
	}
	path := "/api/v1/plans/reject"
	if r.Approve {
		path = "/api/v1/plans/approve"
	}
	var said approval.Approval
	err = c.do(ctx, http.MethodPost, path, bytes.NewReader(body), &said)
	return said, err
}
