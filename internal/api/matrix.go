package api

import (
	"context"
	"net/url"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// Matrix is the answer to GET /api/v1/certificates/NAME/matrix: which version of a certificate is where.
type Matrix struct {
	Certificate string                `json:"certificate"`
	Time        time.Time             `json:"time"`
	Running     bool                  `json:"running"`          // a daemon answered; else its places were looked at once
	Status      certmedic.Status      `json:"status"`           // the worst of the rows
	Stored      certmedic.Fingerprint `json:"stored,omitempty"` // the newest stored version; empty: none is known
	Rows        []watchdog.MatrixRow  `json:"rows"`
}

// Matrix asks which version of a certificate is where.
func (c *Client) Matrix(ctx context.Context, certificate string) (Matrix, error) {
	var m Matrix
	err := c.get(ctx, "/api/v1/certificates/"+url.PathEscape(certificate)+"/matrix", nil, &m)
	return m, err
}
