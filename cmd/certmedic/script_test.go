package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

// TestMain puts this command on the PATH of the transcripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"certmedic": main})
}

// TestTranscripts runs testdata/*.txtar. Each transcript has a laboratory of its own, see
// scriptLab, and the command "exits CODE COMMAND...", which wants that exit code.
func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: func(env *testscript.Env) error { return setUpLab(t.Context(), env) },
		Cmds:  map[string]func(*testscript.TestScript, bool, []string){"exits": exits},

		Condition: condition,
	})
}

// condition answers [confinable]: whether a process of this user can be confined to a folder.
func condition(name string) (bool, error) {
	if name != "confinable" {
		return false, fmt.Errorf("there is no condition %q", name)
	}
	return os.Getuid() == 0 || exec.Command("unshare", "--user", "true").Run() == nil, nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var failed *exec.ExitError
	got := 0
	switch {
	case errors.As(err, &failed):
		got = failed.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("the exit code is %d, want %d", got, want)
	}
}

// scriptLab is what transcripts find: root.pem, a certbot tree in etc with the lineages
// blog.test and shop.test, and nodes that serve shop.test. Their addresses are
// in $SHOP, $EXPIRED, $INCOMPLETE and $PLAIN. On port $SPLIT, 127.0.0.1 serves the tree's
// version and 127.0.0.2 another one.
type scriptLab struct {
	env     *testscript.Env
	issuing *mint.CA
}

func setUpLab(ctx context.Context, env *testscript.Env) error {
	env.Setenv("GORACE", os.Getenv("GORACE"))
	root, err := mint.NewCA("Lab Root")
	if err != nil {
		return err
	}
	l := &scriptLab{env: env}
	if l.issuing, err = root.Intermediate("Lab Issuing"); err != nil {
		return err
	}
	shop, err := l.lineages()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(env.WorkDir, "root.pem"), root.PEM(), 0o600); err != nil {
		return err
	}
	for name, fault := range map[string]tlsd.Fault{
		"SHOP": tlsd.None, "EXPIRED": tlsd.Expired, "INCOMPLETE": tlsd.MissingIntermediate, "PLAIN": tlsd.PlainHTTP,
	} {
		node, err := tlsd.Start(ctx, tlsd.Options{Name: name, Issuer: l.issuing})
		if err != nil {
			return err
		}
		env.Defer(node.Stop)
		if err := errors.Join(node.Serve(shop.TLS()), node.SetFault(fault)); err != nil {
			return err
		}
		env.Setenv(name, node.Addr())
	}
	return l.split(ctx, shop)
}

// lineages writes the tree and returns the pair of shop.test.
func (l *scriptLab) lineages() (mint.Pair, error) {
	tr := tree.Tree{
		ConfigDir: filepath.Join(l.env.WorkDir, "etc"), WorkDir: filepath.Join(l.env.WorkDir, "var"), LogsDir: filepath.Join(l.env.WorkDir, "log"),
	}
	if err := tr.Prepare(); err != nil {
		return mint.Pair{}, err
	}
	var pair mint.Pair
	for _, name := range []string{"blog.test", "shop.test"} {
		var err error
		if pair, err = l.issuing.Leaf(mint.Leaf{Names: []string{name, "www." + name}}); err != nil {
			return pair, err
		}
		key, err := pair.KeyPEM()
		if err != nil {
			return pair, err
		}
		_, err = tr.Save(name, tree.Version{Cert: pair.CertPEM(), Privkey: key, Chain: pair.ChainPEM()})
		if err := errors.Join(err, tr.WriteConf(name, []tree.Param{{Key: "authenticator", Value: "webroot"}})); err != nil {
			return pair, err
		}
	}
	return pair, nil
}

// split starts the two nodes that serve different versions.
func (l *scriptLab) split(ctx context.Context, shop mint.Pair) error {
	nodes, err := tlsd.StartGroup(ctx, tlsd.Options{Name: "split"}, "127.0.0.1", "127.0.0.2")
	if err != nil {
		return err
	}
	stale, err := l.issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(-2 * time.Hour)})
	if err != nil {
		return err
	}
	for i, pair := range []mint.Pair{shop, stale} {
		l.env.Defer(nodes[i].Stop)
		if err := nodes[i].Serve(pair.TLS()); err != nil {
			return err
		}
	}
	_, port, err := net.SplitHostPort(nodes[0].Addr())
	l.env.Setenv("SPLIT", port)
	return err
}

func TestPrintableLetsNothingSteerTheTerminal(t *testing.T) {
	hostile := "a\x1b[2Jb\u009b1mc\r\x07"
	if got := printable(hostile); strings.ContainsAny(got, "\x1b\u009b\r\x07") {
		t.Errorf("printable lets %q through", got)
	}
	if got := oneLine("ok\n\n  critical  shop"); strings.Contains(got, "\n") {
		t.Errorf("oneLine lets a line feed through: %q", got)
	}
	if got := escapeUnprintable(`{"name":"a` + "\u009b\u202e\U000e0001" + `é"}`); got != `{"name":"a\u009b\u202e\udb40\udc01é"}` {
		t.Errorf("JSON is written as %s", got)
	}
}
