// Package command tells by running a program of the owner's: once for each event, with the
// event as JSON, see [body.Body], on its standard input and in short in its environment. No shell
// is involved, so that nothing in an event is ever interpreted. Exit code 0 is a delivery and 75
// (EX_TEMPFAIL of sysexits.h) asks for another attempt; every other one is final. A program that
// takes too long is ended with its process group, and tried again, as one is that a signal killed.
package command

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	defaultTimeout = 10 * time.Second
	maxOutput      = 4 << 10 // bytes of each stream that are read
	quoteRunes     = 200     // of its output that are quoted in errors
	maxVariable    = 8 << 10 // bytes of the value of a variable
	exTempFail     = 75
)

// Config is what a receiver that runs a command needs.
type Config struct {
	Argv       []string // the program and its arguments
	Environ    []string // "NAME=value"; CERTMEDIC_... are added
	RunbookURL string   // stands in front of the name of a rule's runbook; empty: the name alone is told
	Timeout    time.Duration
}

// Notifier runs one command.
type Notifier struct{ config Config }

var (
	_ alerting.Notifier  = (*Notifier)(nil)
	_ alerting.Single    = (*Notifier)(nil)
	_ alerting.Previewer = (*Notifier)(nil)
)

// New returns a notifier. The program need not be there yet.
func New(c Config) (*Notifier, error) {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return nil, fmt.Errorf("exec: the command is empty")
	}
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	return &Notifier{c}, nil
}

// OneEvent says that every run is about one event.
func (n *Notifier) OneEvent() bool { return true }

// Notify runs the command for each event and stops at the first run that fails. It refuses a
// program that others may change.
func (n *Notifier) Notify(ctx context.Context, notification alerting.Notification) (retry bool, err error) {
	for _, e := range notification.Events {
		c, err := n.command(notification, e)
		if err != nil {
			return false, err
		}
		if retry, err := run(ctx, c); err != nil {
			return retry, fmt.Errorf("running %q: %w", n.config.Argv[0], err)
		}
	}
	return false, nil
}

// Preview returns what the command gets: its variables, and then its standard input.
func (n *Notifier) Preview(notification alerting.Notification) ([]byte, error) {
	var out strings.Builder
	for _, e := range notification.Events {
		b := n.bodyOf(notification, e)
		data, err := json.MarshalIndent(b, "", "  ")
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%s\n%s\n", strings.Join(variables(b), "\n"), data)
	}
	return []byte(out.String()), nil
}

func (n *Notifier) bodyOf(notification alerting.Notification, e alerting.Event) body.Body {
	b := body.Of(notification, e)
	b.Runbook = cmp.Or(body.Runbook(n.config.RunbookURL, b.Runbook), b.Runbook)
	return b
}

func (n *Notifier) command(notification alerting.Notification, e alerting.Event) (execx.Command, error) {
	b := n.bodyOf(notification, e)
	data, err := json.Marshal(b)
	return execx.Command{
		Name: n.config.Argv[0], Argv: n.config.Argv, Env: append(slices.Clone(n.config.Environ), variables(b)...),
		Stdin: data, Timeout: n.config.Timeout, MaxOutput: maxOutput,
	}, err
}

func run(ctx context.Context, c execx.Command) (retry bool, err error) {
	program, err := execx.LookPath(c)
	if err != nil {
		return false, err
	}
	if err := ownership.Check(program); err != nil {
		return false, err
	}
	r := execx.Run(ctx, c)
	switch r.Result {
	case certmedic.RunExited:
		return r.ExitCode == exTempFail, failure(r)
	case certmedic.RunCancelled:
		execx.Await(context.WithoutCancel(ctx), r, time.Now()) // nobody waits for it, so it must not go on
		return true, fmt.Errorf("%s: %w", r.Result, context.Cause(ctx))
	case certmedic.RunNotStarted:
		return false, fmt.Errorf("%s: %s", r.Result, r.Detail)
	default:
		return true, fmt.Errorf("%s: %s", r.Result, r.Detail)
	}
}

// failure quotes what the command said last about its failure; nil where it did not fail.
func failure(r certmedic.Run) error {
	if r.ExitCode == 0 {
		return nil
	}
	said := strings.TrimSpace(cmp.Or(r.Stderr, r.Stdout))
	return fmt.Errorf("exit code %d: %q", r.ExitCode, redact.Truncate(said, quoteRunes))
}

// variables says in short what the body says, for programs that read no JSON.
func variables(b body.Body) []string {
	days, notAfter := "", ""
	if b.DaysLeft != nil {
		days, notAfter = strconv.Itoa(*b.DaysLeft), b.NotAfter.Format(time.RFC3339)
	}
	pairs := [][2]string{
		{"EVENT", string(b.Event)},
		{"CERTIFICATE", b.Certificate},
		{"DOMAINS", strings.Join(b.Domains, " ")},
		{"SEVERITY", string(b.Severity)},
		{"STATUS", string(b.Status)},
		{"SUMMARY", b.Summary},
		{"REASON", b.Reason},
		{"CAUSE", string(b.Cause)},
		{"NOT_AFTER", notAfter},
		{"DAYS_LEFT", days},
		{"ISSUER", b.Issuer},
		{"SERIAL", b.Serial},
		{"SHA256", string(b.SHA256)},
		{"STAGE", string(b.Stage)},
		{"DEDUP_KEY", b.DedupKey},
		{"RULE", b.Rule},
		{"INCIDENT", b.Incident},
		{"MEMBERS", strings.Join(b.Members, " ")},
		{"NEXT_STEP", b.NextStep},
		{"RUNBOOK", b.Runbook},
		{"DRILL", strconv.FormatBool(b.Drill)},
	}
	all := make([]string, 0, len(pairs))
	for _, p := range pairs {
		value := body.Line(redact.Plain(p[1]))
		for len(value) > maxVariable { // the kernel takes no more than 128 KiB of one
			value = redact.Truncate(value, len([]rune(value))/2)
		}
		all = append(all, "CERTMEDIC_"+p[0]+"="+value)
	}
	return all
}
