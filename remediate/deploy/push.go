package deploy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/remediate/deploy/acm"
	"github.com/certmedic/certmedic/remediate/deploy/httpapi"
	"github.com/certmedic/certmedic/remediate/deploy/program"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// The kinds of certmedic's own steps that give a version to something that is no host.
const (
	StepACM     = "acm"
	StepAPI     = "api"
	StepProgram = "program"
)

// Pushes returns the commands that give a stored version to what is no host, in the order of the
// destinations. They hold paths and fingerprints; the steps read the files themselves.
func Pushes(destinations []certmedic.Destination, stored certmedic.Stored, environ []string) ([]Command, error) {
	var all []Command
	for _, d := range destinations {
		if !d.Push.Some() {
			continue
		}
		c := Command{Name: PushName(d), Phase: PhasePush, Own: true, Env: withoutCredentials(environ)}
		var request any
		switch order, to := version.Of(d.Push.Certificate, stored), d.Push; {
		case to.ACM != nil:
			request, c.Argv, c.Proves, c.Env = acm.Request{Order: order, To: *to.ACM}, own(StepACM), true, environ
			c.About, c.locks = aboutACM(to), []string{lockACM(to)}
		case to.API != nil:
			request, c.Argv, c.Proves = httpapi.Request{Order: order, To: *to.API}, own(StepAPI), to.API.VerifyURL != ""
			c.About, c.locks = fmt.Sprintf("sends it to %s by %s", redact.URL(to.API.URL), to.API.Method), []string{"api\x00" + withoutQuery(to.API.URL)}
		default:
			request, c.Argv = program.Request{Order: order, To: *to.Program}, own(StepProgram)
			c.About, c.locks = "gives it to "+strings.Join(to.Program.Command, " "), []string{strings.Join(to.Program.Command, "\x00")}
		}
		var err error
		if c.Request, err = json.Marshal(request); err != nil {
			return nil, fmt.Errorf("planning what is given to %q: %w", d.Name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// push plans what is given to what is no host, and proves that the version can be read.
func (p *Plan) push(destinations []certmedic.Destination, stored certmedic.Stored, environ []string) error {
	for _, d := range destinations {
		if err := trustedPush(d.Push); err != nil {
			return err
		}
	}
	all, err := Pushes(destinations, stored, environ)
	if err != nil || len(all) == 0 {
		return err
	}
	if _, err := read(stored.Files, stored.Chain); err != nil { // the steps do so again
		return err
	}
	for _, c := range all {
		p.Locks = append(p.Locks, c.locks...)
	}
	p.Pushes = all
	return nil
}

// PushName is the name of the command that gives a version to a destination.
func PushName(d certmedic.Destination) string { return d.Name + ": " + string(PhasePush) }

func aboutACM(to certmedic.Push) string {
	if to.ACM.ARN != "" {
		return "imports it into " + to.ACM.ARN
	}
	return fmt.Sprintf("imports it into ACM in %s, as the certificate with the tag certmedic=%s", to.ACM.Region, to.Certificate)
}

func lockACM(to certmedic.Push) string {
	if to.ACM.ARN != "" {
		return to.ACM.ARN
	}
	return "acm\x00" + to.ACM.Region + "\x00" + to.Certificate
}

func withoutQuery(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	u.RawQuery, u.User = "", nil
	return u.String()
}

// Ready completes the command of a push when it is about to run: with the token under which the
// action acts, and a folder that does not exist yet, for what others must not see.
func (c Command) Ready(token uint64, work string) (Command, error) {
	request := map[string]json.RawMessage{}
	if err := json.Unmarshal(c.Request, &request); err != nil {
		return c, fmt.Errorf("completing the request of %q: %w", c.Name, err)
	}
	for key, value := range map[string]any{"token": token, "work": work} {
		data, err := json.Marshal(value)
		if err != nil {
			return c, fmt.Errorf("completing the request of %q: %w", c.Name, err)
		}
		request[key] = data
	}
	var err error
	if c.Request, err = json.Marshal(request); err != nil {
		return c, fmt.Errorf("completing the request of %q: %w", c.Name, err)
	}
	return c, nil
}

// withoutCredentials leaves out of an environment what AWS is asked with: that is for the step that
// asks it, and for certbot.
func withoutCredentials(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}, name)
	})
}

// secretsOf lists the files with secrets that a push reads, and those that others must not change.
func secretsOf(p certmedic.Push) (secret, fixed []string) {
	switch {
	case p.ACM != nil:
		secret, fixed = []string{p.ACM.CredentialsFile}, []string{p.ACM.CAFile}
	case p.API != nil:
		secret, fixed = []string{p.API.HeadersFile, p.API.TokenFile}, []string{p.API.CAFile}
	case p.Program != nil && len(p.Program.Command) > 0 && filepath.IsAbs(p.Program.Command[0]):
		fixed = []string{p.Program.Command[0]}
	}
	empty := func(path string) bool { return path == "" }
	return slices.DeleteFunc(secret, empty), slices.DeleteFunc(fixed, empty)
}

// trustedPush checks the files that a push reads or runs.
func trustedPush(p certmedic.Push) error {
	secret, fixed := secretsOf(p)
	for _, path := range secret {
		if err := ownership.CheckSecret(path); err != nil {
			return fmt.Errorf("checking %q: %w", path, err)
		}
	}
	for _, path := range fixed {
		if err := ownership.Check(path); err != nil {
			return fmt.Errorf("checking %q: %w", path, err)
		}
	}
	return nil
}
