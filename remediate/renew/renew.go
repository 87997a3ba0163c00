// Package renew plans how a new version of a certificate is issued: by certbot, which itself
// decides whether one is due, by certmedic itself at an ACME CA, or by a command of the
// certificate's owner. The remediator asks for a [Plan] or a [PlanACME], carries it out, and
// judges it by what is stored and served afterwards; [Explain] finds the lines that say why
// nothing new is.
//
// It promises that a plan is pure data, that what it runs comes from the configuration and
// from certbot's own files only, and that the values of variables, which may be secrets, are
// never shown.
package renew

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// ErrNoWay says that a certificate has no way to be renewed.
var ErrNoWay = errors.New("it is not kept by certbot, and its configuration names no CA and no command that renews it")

// Way is how a certificate is renewed: one of its fields is set, or none where there is no
// way.
type Way struct {
	Certbot *Certbot
	ACME    *ACME    // see [PlanACME]
	Command []string // program and arguments
}

// Certbot is a renewal of one lineage by certbot.
type Certbot struct {
	Lineage   string
	ConfigDir string
	WorkDir   string            // empty: certbot's default
	LogsDir   string            // empty: certbot's default
	Args      []string          // further arguments
	Env       map[string]string // added to the environment
	Off       bool              // its files say that certbot is not to renew it

	Around Around // for rehearsals, and for a certbot that was stopped
}

// The names under which the commands of renewals are journaled.
const (
	nameCertbot = "certbot renew"
	nameCommand = "renew"
)

// How says what certbot could not know by itself, because it looks at dates alone. A command is
// run as it is.
type How struct {
	Force  bool // renew what is not due, and what it was told not to renew
	NewKey bool // also where its files say that the key is used again
}

// Plan plans a renewal.
// The error says that there is no way, or that others may write the program.
func Plan(w Way, environ []string, how How) (deploy.Plan, error) {
	c := deploy.Command{Name: nameCommand, Phase: deploy.PhaseRenew, Argv: w.Command, Env: environ}
	switch {
	case w.Certbot != nil:
		c.Name, c.Argv = nameCertbot, w.Certbot.argv(how)
		c.Env, c.EnvDiff = w.Certbot.environ(environ)
	case len(w.Command) == 0:
		return deploy.Plan{}, ErrNoWay
	}
	if path, err := execx.LookPath(execx.Command{Argv: c.Argv, Env: c.Env, Dir: "/"}); err == nil { // else it is not started
		if err := ownership.Check(path); err != nil {
			return deploy.Plan{}, fmt.Errorf("checking %q: %w", path, err)
		}
	}
	return deploy.Plan{
		Files: []deploy.File{}, Commands: []deploy.Command{c}, Notes: []string{},
		// certbot runs deploy hooks, which are never to run beside those that certmedic runs.
		Locks: []string{deploy.LockHooks}, Basis: basis(c),
	}, nil
}

// argv is certbot's command line. It does not sleep, because whoever asks has waited already.
func (c Certbot) argv(how How) []string {
	argv := []string{
		"certbot", "renew", "--cert-name", c.Lineage, "--config-dir", c.ConfigDir,
	}
	if c.WorkDir != "" {
		argv = append(argv, "--work-dir", c.WorkDir)
	}
	if c.LogsDir != "" {
		argv = append(argv, "--logs-dir", c.LogsDir)
	}
	argv = append(argv, "--no-random-sleep-on-renew", "--non-interactive")
	if how.Force {
		argv = append(argv, "--force-renewal")
	}
	if how.NewKey {
		argv = append(argv, "--new-key")
	}
	return append(argv, c.Args...)
}

// environ returns the environment of certbot, and the names of what is added to it.
func (c Certbot) environ(base []string) (env, names []string) {
	env = slices.Clone(base)
	names = slices.Sorted(maps.Keys(c.Env))
	for _, name := range names {
		env = append(env, name+"="+c.Env[name])
	}
	return env, names
}

// basis hashes what would be run. An added variable counts by its name: a new password is no
// other cure.
func basis(c deploy.Command) string {
	h := sha256.New()
	for _, part := range slices.Concat(c.Argv, c.EnvDiff) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
