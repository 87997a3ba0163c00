package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/deploy/acm"
	"github.com/certmedic/certmedic/remediate/deploy/haproxy"
	"github.com/certmedic/certmedic/remediate/deploy/httpapi"
	"github.com/certmedic/certmedic/remediate/deploy/program"
	"github.com/certmedic/certmedic/remediate/deploy/signal"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// newStep is the command by which certmedic runs steps of its own actions in processes of
// their own: these are journaled as other commands are, outlive the daemon, and hold locks
// that are theirs alone. It is not for people.
func newStep(e *environment) *cobra.Command {
	return &cobra.Command{
		Use:    "step KIND REQUEST",
		Short:  "Carry out a step of an action (certmedic itself runs this)",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			run := step(e, args[0])
			if run == nil {
				return fmt.Errorf("there is no step %q", args[0])
			}
			request, err := readRequest(args[1])
			if err != nil {
				return fail(err)
			}
			if err := run(cmd.Context(), request, e.stdout); err != nil {
				return stepFailed(err)
			}
			return nil
		},
	}
}

// step returns what carries out a kind of step; nil where there is none.
func step(e *environment, kind string) func(ctx context.Context, request []byte, out io.Writer) error {
	switch kind {
	case deploy.StepHAProxy:
		return haproxy.Run
	case deploy.StepSignal:
		return signal.Run
	case deploy.StepACM:
		return acm.Run
	case deploy.StepAPI:
		return httpapi.Run
	case deploy.StepProgram:
		return func(ctx context.Context, request []byte, out io.Writer) error {
			return program.Run(ctx, request, program.Outside{Environ: e.environ(), Stdout: out, Stderr: e.stderr})
		}
	case "acme":
		return func(ctx context.Context, request []byte, out io.Writer) error {
			return native.Run(ctx, request, out, app.JudgeIssued)
		}
	case "lineage":
		return lineage.Run
	}
	return nil
}

// stepFailed tells who runs the step also whether trying again is worth it.
func stepFailed(err error) error {
	if errors.Is(err, lineage.ErrHeld) {
		return &exitError{code: lineage.ExitHeld, err: err}
	}
	return fail(err)
}

// maxRequest bounds a request, in bytes.
const maxRequest = 1 << 20

func readRequest(path string) ([]byte, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("the request %q is not an absolute path", path)
	}
	if err := ownership.Check(path); err != nil {
		return nil, fmt.Errorf("checking the request: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRequest+1))
	if err == nil && len(data) > maxRequest {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the request %q: %w", path, err)
	}
	return data, nil
}
