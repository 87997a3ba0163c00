package api

import (
	"context"

	"github.com/certmedic/certmedic/alerting"
)

// AckRequest is the body of POST /api/v1/acknowledgements. Who says it is not for the client to say:
// it is the socket's peer, or who logged in.
type AckRequest struct {
	About string `json:"about"` // a certificate, an incident's ID or a conversation
	Why   string `json:"why,omitempty"`

	By string `json:"-"`
}

// Acknowledgement says who looks after a conversation that is open.
type Acknowledgement struct {
	Conversation string `json:"conversation"`          // the dedup_key of its incidents
	Certificate  string `json:"certificate,omitempty"` // empty: it is about certmedic itself
	alerting.Ack
}

// Acknowledge says that a person looks after what is open, and returns all that this is about.
func (c *Client) Acknowledge(ctx context.Context, r AckRequest) ([]Acknowledgement, error) {
	var all []Acknowledgement
	err := c.post(ctx, "/api/v1/acknowledgements", r, &all)
	return all, err
}

// Acknowledged asks who looks after what is open.
func (c *Client) Acknowledged(ctx context.Context) ([]Acknowledgement, error) {
	var all []Acknowledgement
	err := c.get(ctx, "/api/v1/acknowledgements", nil, &all)
	return all, err
}
