// Package deploy moves a stored version on to where it is served: by running certbot's own
// deploy hooks again, or by the deploy steps of the configuration (files, test, reload,
// alive) as one transaction.
//
// A [Plan] says everything that would be done and is pure data; [Hooks] and [Steps] make
// one. The remediator decides whether a plan is carried out, and verifies the result by
// new handshakes: exit codes are not evidence.
package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
)

// Hook is one of certbot's deploy hooks, in the order in which certbot runs them.
type Hook struct {
	Command string // what certbot hands to /bin/sh -c
	Path    string // the script, to be checked and watched for changes; empty where it is not a path
	Source  string // where it is configured, for people
	Skipped string // why certbot does not run it, and nor does certmedic; empty for those that run
}

// Phase says what a command of a plan is for.
type Phase string

// The phases of a plan's commands.
const (
	PhaseHook   Phase = "hook"
	PhaseSource Phase = "source" // changes the source itself
	PhasePre    Phase = "pre"    // before a renewal
	PhaseProof  Phase = "proof"  // a renewal that stores nothing, to see that it works
	PhaseRenew  Phase = "renew"
	PhasePost   Phase = "post" // after a renewal, whatever came of it

	PhasePrepare Phase = "prepare" // makes of installed files what the service reads
	PhaseTest    Phase = "test"
	PhaseReload  Phase = "reload"
	PhaseAlive   Phase = "alive"
	PhasePush    Phase = "push" // gives the version to what is no host
)

// LockHooks is the lock of whatever runs certbot's hooks.
const LockHooks = "hooks"

// Command is one command of a plan.
type Command struct {
	Name    string   `json:"name"` // the hook, or "web: reload"
	Phase   Phase    `json:"phase"`
	Argv    []string `json:"argv"`
	Env     []string `json:"-"`
	EnvDiff []string `json:"env,omitempty"` // what is added to certmedic's own environment
	Request []byte   `json:"-"`             // of a step of certmedic's own: written to a file, 0600, whose path becomes the last argument

	Own       bool          `json:"-"`                   // the program of Argv is certmedic itself
	About     string        `json:"about,omitempty"`     // what a step of certmedic's own does, for people
	Otherwise []string      `json:"otherwise,omitempty"` // what is run where Argv does not succeed
	For       time.Duration `json:"for_ns,omitempty"`    // it is asked again until this has passed, and has to succeed each time; 0: once
	Proves    bool          `json:"proves,omitempty"`    // of a push: success means that what got the version shows it

	locks []string // what it must not share with the commands of other plans, besides what it runs
}

// File is one file of a plan, with the mode and the owner that it will have.
type File struct {
	certmedic.InstalledFile
	Source string `json:"source"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`         // of its content; of a key store, which is another one each time, of what it holds
	Swap   string `json:"swap,omitempty"` // the link to the folder that is replaced as a whole

	data  []byte
	owned bool // the owner is configured
}

// Plan is everything that an action would do, in order.
type Plan struct {
	Certificate string                `json:"certificate"`
	Kind        certmedic.ActionKind  `json:"action"`
	Version     certmedic.Fingerprint `json:"version"`
	Hosts       []string              `json:"hosts"`    // where it would be done: "local", and the names of other hosts
	Files       []File                `json:"files"`    // on this host
	Commands    []Command             `json:"commands"` // on this host
	Elsewhere   []Elsewhere           `json:"elsewhere,omitempty"`
	Pushes      []Command             `json:"pushes,omitempty"` // give the version to what is no host, once all hosts have it
	Locks       []string              `json:"-"`                // what must not be shared with another plan at the same time
	Basis       string                `json:"basis"`            // hash of what would be run and installed
	Notes       []string              `json:"notes"`            // what people should know: hooks that are there and do not run
	Cost        string                `json:"cost,omitempty"`   // of a renewal: what it spends of the CA's limits
	Verify      string                `json:"verify"`           // what has to be seen afterwards
	Hash        string                `json:"hash"`             // of all that it would do, see [Plan.Seal]
}

// Empty reports whether there is nothing to do.
func (p Plan) Empty() bool {
	return len(p.Commands) == 0 && len(p.Files) == 0 && len(p.Elsewhere) == 0 && len(p.Pushes) == 0
}

// Hooks plans to run certbot's deploy hooks as certbot does: through /bin/sh -c, with
// RENEWED_DOMAINS and RENEWED_LINEAGE added to the environment. The error says that a hook
// cannot be trusted because others may write it.
func Hooks(stored certmedic.Stored, hooks []Hook, environ []string) (Plan, error) {
	p := newPlan(stored)
	added := []string{
		"RENEWED_DOMAINS=" + strings.Join(stored.Names, " "),
		"RENEWED_LINEAGE=" + filepath.Dir(stored.Files.Cert),
	}
	env := append(slices.Clone(environ), added...)
	var basis []string
	for _, h := range hooks {
		if h.Skipped != "" {
			p.Notes = append(p.Notes, h.Skipped)
			basis = append(basis, stat(h.Path))
			continue
		}
		for _, path := range []string{h.Path, Script(h.Command)} {
			if path == "" {
				continue
			}
			if err := ownership.Check(path); err != nil {
				return Plan{}, fmt.Errorf("checking hook %q: %w", h.Command, err)
			}
		}
		p.Commands = append(p.Commands, Command{
			Name: h.Command, Phase: PhaseHook, Argv: []string{"/bin/sh", "-c", h.Command}, Env: env, EnvDiff: added,
		})
		basis = append(basis, h.Command, stat(h.Path), stat(Script(h.Command)))
	}
	p.Locks = []string{LockHooks}
	p.Basis = digest(basis)
	return p, nil
}

// Script returns the script that a shell line such as "sh /srv/hook" runs by an interpreter;
// empty where the line has another form.
func Script(command string) string {
	words := strings.Fields(command)
	if len(words) < 2 || !slices.Contains([]string{"sh", "bash", "dash", "python3", "perl"}, filepath.Base(words[0])) {
		return ""
	}
	for _, word := range words[1:] {
		switch {
		case strings.HasPrefix(word, "/"):
			return word
		case !strings.HasPrefix(word, "-"), word == "-c":
			return ""
		}
	}
	return ""
}

func newPlan(stored certmedic.Stored) Plan {
	p := Plan{Files: []File{}, Commands: []Command{}, Notes: []string{}}
	if leaf, ok := stored.Leaf(); ok {
		p.Version = leaf.SHA256
	}
	return p
}

// stat describes a script so that a change of it, by content or by mode, changes the hash.
func stat(path string) string {
	if path == "" {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.Mode(), info.Size(), info.ModTime().Format(time.RFC3339Nano))
}

func digest(parts []string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
