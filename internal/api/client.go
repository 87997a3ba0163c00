package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/certmedic/certmedic"
)

// ErrCutShort says that the daemon ended or reloaded before what it was asked for had ended. What was
// begun is brought to its end, and the history has it.
var ErrCutShort = errors.New("the daemon ended or reloaded meanwhile; what was begun is brought to its end: see certmedic history")

// ErrNoDaemon says that no daemon answers on the socket.
var ErrNoDaemon = errors.New("no certmedic daemon is running")

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 30

// Client speaks to the daemon on its socket.
type Client struct {
	http *http.Client
	path string
}

// NewClient returns a client for the daemon whose state is in stateDir. It connects at the
// first call.
func NewClient(stateDir string) *Client {
	path := filepath.Join(stateDir, SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		return d.DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks for the present picture.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.get(ctx, "/api/v1/status", nil, &s)
	return s, err
}

// Rules asks for the rules in force, with what they say of all that is watched.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	var all []Rule
	err := c.get(ctx, "/api/v1/rules", nil, &all)
	return all, err
}

// Incidents asks for the open incidents and the newest ended ones, of one certificate or of
// all when it is "".
func (c *Client) Incidents(ctx context.Context, certificate string, limit int) ([]certmedic.Incident, error) {
	var in []certmedic.Incident
	err := c.get(ctx, "/api/v1/incidents", query(certificate, limit), &in)
	return in, err
}

// History asks for the newest actions, of one certificate or of all when it is "".
func (c *Client) History(ctx context.Context, certificate string, limit int) ([]certmedic.Action, error) {
	var actions []certmedic.Action
	err := c.get(ctx, "/api/v1/history", query(certificate, limit), &actions)
	return actions, err
}

// Act asks for an action and waits until it has ended.
func (c *Client) Act(ctx context.Context, r ActionRequest) (ActionAnswer, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return ActionAnswer{}, fmt.Errorf("encoding the request: %w", err)
	}
	var answer ActionAnswer
	err = c.do(ctx, http.MethodPost, "/api/v1/actions", bytes.NewReader(body), &answer)
	return answer, err
}

func query(certificate string, limit int) url.Values {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if certificate != "" {
		q.Set("certificate", certificate)
	}
	return q
}

func (c *Client) get(ctx context.Context, path string, q url.Values, into any) error {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://certmedic"+path, body)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(request)
	if err != nil {
		return c.explain(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return c.explain(err)
	}
	if answer.StatusCode == http.StatusServiceUnavailable {
		return ErrCutShort
	}
	if answer.StatusCode != http.StatusOK {
		var p Problem
		if json.Unmarshal(data, &p) == nil && p.Error != "" {
			return fmt.Errorf("the daemon says: %s", p.Error)
		}
		return fmt.Errorf("the daemon answered %s", answer.Status)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading the daemon's answer: %w", err)
	}
	return nil
}

// explain tells "no daemon" from "may not speak to it".
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("connecting to %q: %w", c.path, ErrNoDaemon)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return ErrCutShort
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("connecting to %q: only root and the daemon's own user may: %w", c.path, os.ErrPermission)
	}
	return fmt.Errorf("asking the daemon at %q: %w", c.path, err)
}
