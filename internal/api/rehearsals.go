package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/certmedic/certmedic"
)

// RehearsalRequest is the body of POST /api/v1/rehearsals.
type RehearsalRequest struct {
	Certificate string `json:"certificate"`
	Renewal     bool   `json:"renewal,omitempty"`   // an issuance at the staging directory, in place of the deploy hooks
	RunHooks    bool   `json:"run_hooks,omitempty"` // of a renewal by certbot: pre and post hooks run for real
	By          string `json:"by,omitempty"`        // the person, where no daemon runs; a daemon asks the kernel
}

// RehearsalAnswer is what a rehearsal came to, in the form of an action.
type RehearsalAnswer struct {
	Rehearsal certmedic.Action `json:"rehearsal"`
}

// Rehearse asks for a rehearsal and waits until it has ended.
func (c *Client) Rehearse(ctx context.Context, r RehearsalRequest) (RehearsalAnswer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return RehearsalAnswer{}, fmt.Errorf("encoding the request: %w", err)
	}
	var answer RehearsalAnswer
	err = c.do(ctx, http.MethodPost, "/api/v1/rehearsals", bytes.NewReader(body), &answer)
	return answer, err
}
