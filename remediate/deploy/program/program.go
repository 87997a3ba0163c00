// Package program gives a version to a program that brings it to where nothing else of certmedic's
// gets it: rsync to a host that has no sshd for certmedic, the tool of an appliance, a script.
//
// certmedic runs it as a step of its own ([Run]). It promises that the program finds the version in
// files that only it may read, in a folder that is gone afterwards; that the key is in no argument
// and no environment; that no shell is involved; and that the program ends with the step.
package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// Request says what is given to which program.
type Request struct {
	version.Order
	To certmedic.Program `json:"to"`
}

// endGrace is how long the program has after it was asked to end.
const endGrace = 5 * time.Second

// Outside is what the program shares with the step.
type Outside struct {
	Environ        []string
	Stdout, Stderr io.Writer
}

// Run carries out a [Request] in JSON.
func Run(ctx context.Context, request []byte, o Outside) (err error) {
	var q Request
	if err := json.Unmarshal(request, &q); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	v, err := q.Read()
	if err != nil {
		return err
	}
	if err := store(q.Work, v); err != nil {
		return fmt.Errorf("writing the files for the program: %w", errors.Join(err, os.RemoveAll(q.Work)))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(q.Work)) }()
	if err := q.run(ctx, v, o); err != nil {
		return fmt.Errorf("giving %q to %q: %w", q.Certificate, q.To.Command[0], err)
	}
	return nil
}

// parts are the parts that become files, by the names that placeholders and variables have for
// them.
func parts() []certmedic.FilePart {
	return []certmedic.FilePart{certmedic.PartCert, certmedic.PartChain, certmedic.PartFullchain, certmedic.PartPrivkey}
}

func fileOf(folder string, part certmedic.FilePart) string {
	return filepath.Join(folder, string(part)+".pem")
}

// store writes the parts into a folder of their own, which does not exist yet.
func store(folder string, v version.Version) error {
	if !filepath.IsAbs(folder) {
		return fmt.Errorf("%q is no absolute path", folder)
	}
	if err := os.RemoveAll(folder); err != nil { // of a try that was killed
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := ownership.Check(folder); err != nil {
		return err
	}
	for _, part := range parts() {
		if err := os.WriteFile(fileOf(folder, part), v.Parts[part], 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (q Request) run(ctx context.Context, v version.Version, o Outside) error {
	values := map[string]string{"name": q.Certificate, "fingerprint": string(v.Fingerprint()), "folder": q.Work}
	for _, part := range parts() {
		values[string(part)] = fileOf(q.Work, part)
	}
	argv, err := expand(q.To.Command, values)
	if err != nil {
		return err
	}
	if filepath.IsAbs(argv[0]) {
		if err := ownership.Check(argv[0]); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = q.Work, o.Stdout, o.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endGrace
	cmd.Env = append(slices.Clone(o.Environ), q.variables(v, values)...)
	if q.To.Stdin {
		document, err := json.Marshal(v.Document())
		if err != nil {
			return err
		}
		cmd.Stdin = strings.NewReader(string(document))
	}
	return cmd.Run()
}

// variables are what the program's environment has besides the step's own.
func (q Request) variables(v version.Version, values map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(q.To.Env)) {
		all = append(all, name+"="+q.To.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, "CERTMEDIC_"+strings.ToUpper(name)+"="+values[name])
	}
	return append(all, fmt.Sprintf("CERTMEDIC_TOKEN=%d", v.Token))
}

// placeholder is a word in braces.
var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// Check says what is wrong with the placeholders of a command: there are {name}, {fingerprint},
// {folder} and the files {cert}, {chain}, {fullchain} and {privkey}.
func Check(argv []string) error {
	values := map[string]string{"name": "n", "fingerprint": "f", "folder": "/"}
	for _, part := range parts() {
		values[string(part)] = fileOf("/", part)
	}
	_, err := expand(argv, values)
	return err
}

// expand puts values into a command, each as it is and into the word in which it stands. A
// placeholder that there is none of is an error, and so is a value that a program could take for an
// option, or that has control characters.
func expand(argv []string, values map[string]string) ([]string, error) {
	if len(argv) == 0 {
		return nil, errors.New("there is no command")
	}
	expanded := make([]string, 0, len(argv))
	for _, word := range argv {
		var bad error
		word = placeholder.ReplaceAllStringFunc(word, func(p string) string {
			value, ok := values[strings.Trim(p, "{}")]
			switch {
			case !ok:
				bad = fmt.Errorf("there is no value for %s", p)
			case value == "" || strings.HasPrefix(value, "-") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
				bad = fmt.Errorf("the value %q of %s is refused", value, p)
			}
			return value
		})
		if bad != nil {
			return nil, bad
		}
		expanded = append(expanded, word)
	}
	return expanded, nil
}
