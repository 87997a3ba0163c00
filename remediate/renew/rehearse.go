package renew

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// ErrNoRehearsal says that a renewal cannot be rehearsed.
var ErrNoRehearsal = errors.New("this renewal cannot be rehearsed")

// Let's Encrypt's directories. certbot's own dry runs go to the second one.
const (
	letsEncrypt        = "https://acme-v02.api.letsencrypt.org/directory"
	letsEncryptStaging = "https://acme-staging-v02.api.letsencrypt.org/directory"
)

// Around is what certbot runs besides a renewal, and what a rehearsal has to leave alone.
type Around struct {
	Pre, Post     []deploy.Hook // in certbot's order
	Deploy        []deploy.Hook
	Authenticator string   // certbot's plugin that answers challenges
	Directory     string   // URL of the CA that renews the lineage; empty: it is not known
	Staging       string   // URL of the directory for rehearsals; empty: Let's Encrypt's, for its own lineages only
	Unlinked      string   // why certbot would move the links in live/ whatever it is asked for; empty: it would not
	Keeps         []string // the files and folders of the lineage, none of which a rehearsal changes
}

// noop is the command that stands in for a hook. certbot checks that there is such a program.
const noop = "true"

// Rehearse plans the rehearsal of a renewal: a whole issuance at the staging directory, from
// which nothing is stored. Deploy hooks never run; pre and post hooks only with runHooks. The
// error wraps [ErrNoRehearsal] where there is no way to do that, and else says that others may
// write what would be run.
func Rehearse(w Way, environ []string, runHooks bool) (deploy.Plan, error) {
	if w.Certbot == nil {
		return deploy.Plan{}, fmt.Errorf("%w: only certbot, and certmedic itself, have an issuance that changes nothing", ErrNoRehearsal)
	}
	directory, err := w.Certbot.rehearsable(runHooks)
	if err != nil {
		return deploy.Plan{}, err
	}
	c := deploy.Command{Name: "certbot renew --dry-run", Phase: deploy.PhaseRenew, Argv: w.Certbot.rehearsal(directory, runHooks)}
	c.Env, c.EnvDiff = w.Certbot.environ(environ)
	path, err := execx.LookPath(execx.Command{Argv: c.Argv, Env: c.Env, Dir: "/"})
	if err == nil { // else it is not started
		if err := ownership.Check(path); err != nil {
			return deploy.Plan{}, fmt.Errorf("checking %q: %w", path, err)
		}
	}
	parts := append(w.Certbot.hooked(), basis(c), stat(path), w.Certbot.settings())
	return deploy.Plan{
		Files: []deploy.File{}, Commands: []deploy.Command{c}, Notes: w.Certbot.notes(runHooks), Locks: []string{deploy.LockHooks},
		Basis: digest(parts), Cost: "an order at " + directory + ", which spends nothing of the CA's limits",
	}, nil
}

// rehearsable returns the directory for a rehearsal, or why there can be none.
func (c Certbot) rehearsable(runHooks bool) (directory string, err error) {
	a := c.Around
	switch {
	case a.Unlinked != "":
		return "", fmt.Errorf("%w: %s", ErrNoRehearsal, a.Unlinked)
	case slices.ContainsFunc(c.Args, runsDeployHooks):
		return "", fmt.Errorf("%w: the arguments have certbot run deploy hooks", ErrNoRehearsal)
	case a.Authenticator == "standalone" && len(a.Pre) > 0 && !runHooks:
		return "", fmt.Errorf("%w without hooks: certbot listens by itself, for which its pre hooks seem to make room", ErrNoRehearsal)
	case a.Staging != "":
		return a.Staging, nil
	case a.Directory == "", a.Directory == letsEncrypt, a.Directory == letsEncryptStaging:
		return letsEncryptStaging, nil
	}
	return "", fmt.Errorf("%w: no staging directory of its CA, %s, is known", ErrNoRehearsal, a.Directory)
}

// runsDeployHooks reports whether an argument is --run-deploy-hooks, or a beginning of it that
// certbot takes for it.
func runsDeployHooks(arg string) bool {
	return len(arg) > len("--run") && strings.HasPrefix("--run-deploy-hooks", arg)
}

// rehearsal is the command line of a rehearsal. The directory is named, because one of cli.ini
// would take its place else, and be ordered from. Of options that are there twice certbot takes
// the last, and none of them does it save in a dry run.
func (c Certbot) rehearsal(directory string, runHooks bool) []string {
	argv := append(c.argv(How{}), "--dry-run", "--server", directory)
	if !runHooks {
		argv = append(argv, "--no-directory-hooks", "--pre-hook", noop, "--post-hook", noop)
	}
	return argv
}

// notes says which hooks a renewal runs, and what becomes of them in the rehearsal.
func (c Certbot) notes(runHooks bool) []string {
	notes := []string{}
	fate := "left out of the rehearsal"
	if runHooks {
		fate = "run for real"
	}
	note := func(kind string, hooks []deploy.Hook, fate string) {
		for _, h := range hooks {
			if h.Skipped == "" {
				notes = append(notes, fmt.Sprintf("%s hook %s (%s): %s", kind, h.Command, h.Source, fate))
			}
		}
	}
	note("pre", c.Around.Pre, fate)
	note("post", c.Around.Post, fate)
	note("deploy", c.Around.Deploy, "not run in a rehearsal of the renewal")
	return notes
}

// Owed returns the post hooks that a certbot with this command line runs at its end, where it has
// pre hooks that may have run before: what they stopped is to be started again.
func (c Certbot) Owed(argv []string) []deploy.Hook {
	if len(given(c.Around.Pre, argv, "--pre-hook")) == 0 {
		return nil
	}
	return given(c.Around.Post, argv, "--post-hook")
}

// given returns the hooks that run where the command line may name another one, or leave out
// those of the folder.
func given(hooks []deploy.Hook, argv []string, option string) []deploy.Hook {
	hooks = slices.DeleteFunc(slices.Clone(hooks), func(h deploy.Hook) bool {
		return h.Skipped != "" || ofFolder(h) && slices.Contains(argv, "--no-directory-hooks")
	})
	for i, arg := range argv {
		name, command, joined := strings.Cut(arg, "=")
		if name != option || !joined && i+1 == len(argv) {
			continue
		}
		if !joined {
			command = argv[i+1]
		}
		hooks = slices.DeleteFunc(hooks, func(h deploy.Hook) bool { return !ofFolder(h) })
		if command != noop && command != "" {
			hooks = append(hooks, deploy.Hook{Command: command, Source: "the arguments"})
		}
	}
	return hooks
}

// ofFolder reports whether a hook is a file of certbot's own folder, and no setting.
func ofFolder(h deploy.Hook) bool { return strings.HasPrefix(h.Source, "renewal-hooks/") }

// hooked describes the hooks, so that a change of them changes the basis.
func (c Certbot) hooked() []string {
	var parts []string
	for _, h := range slices.Concat(c.Around.Pre, c.Around.Post) {
		parts = append(parts, h.Command, stat(h.Path), stat(deploy.Script(h.Command)))
	}
	return parts
}

// settings hashes the lineage's renewal configuration, but for what certbot itself keeps
// changing there: its version, and when it asked its CA last.
func (c Certbot) settings() string {
	data, err := os.ReadFile(filepath.Join(c.ConfigDir, "renewal", c.Lineage+".conf"))
	if err != nil {
		return "" // certbot will say so
	}
	var kept []string
	for line := range strings.Lines(string(data)) {
		key, _, _ := strings.Cut(line, "=")
		if key = strings.TrimSpace(key); key != "version" && key != "ari_retry_after" && key != "[acme_renewal_info]" {
			kept = append(kept, strings.TrimSpace(line))
		}
	}
	return digest(kept)
}

// stat describes a file so that another one, or another version of it, has another description.
func stat(path string) string {
	if path == "" {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(path, info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
}

func digest(parts []string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// maxKept bounds how many files of a lineage are looked at; certbot keeps six versions.
const maxKept = 1000

// Contents says what the files and folders of a lineage are, by path: a file by the hash of its
// content, a link by where it leads. Two equal answers mean that nothing was changed between.
func Contents(paths []string) (map[string]string, error) {
	all := map[string]string{}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && len(all) >= maxKept {
				err = fmt.Errorf("%q holds more than %d files", root, maxKept)
			}
			if err != nil || entry.IsDir() {
				return err
			}
			all[path], err = content(path, entry.Type())
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("looking at what a rehearsal must not change: %w", err)
		}
	}
	return all, nil
}

func content(path string, kind fs.FileMode) (string, error) {
	switch {
	case kind&fs.ModeSymlink != 0:
		return os.Readlink(path)
	case !kind.IsRegular():
		return kind.String(), nil
	}
	data, err := os.ReadFile(path)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// Changed returns the paths, sorted, at which two answers of [Contents] differ.
func Changed(before, after map[string]string) []string {
	var paths []string
	for path, was := range before {
		if is, ok := after[path]; !ok || is != was {
			paths = append(paths, path)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// nothingDone is how certbot says that it came across nothing to renew.
const nothingDone = "renewals were attempted"

// Rehearsed reports whether none of the commands of a rehearsal, all of which succeeded, says that
// it came across nothing to do.
func Rehearsed(runs []certmedic.Run) bool {
	return !slices.ContainsFunc(runs, func(r certmedic.Run) bool { return lineWith(r.Stdout, nothingDone) != "" })
}
