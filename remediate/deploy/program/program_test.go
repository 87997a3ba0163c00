package program_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/deploy/deploytest"
	"github.com/certmedic/certmedic/remediate/deploy/program"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

func pair() mint.Pair {
	return mint.Must(mint.Must(mint.Must(mint.NewCA("root")).Intermediate("issuing")).Leaf(mint.Leaf{Names: []string{"shop.test"}}))
}

func order(t *testing.T, p mint.Pair) version.Order {
	t.Helper()
	return deploytest.Order(t, "shop", p.Chain, mint.Must(p.KeyPEM()))
}

// given is what a program was given.
type given struct {
	order  version.Order
	out    string
	stderr string
	err    error
}

// give runs a script that is given a version, and checks that nothing is left of the files.
func give(ctx context.Context, t *testing.T, p mint.Pair, text string, to certmedic.Program) given {
	t.Helper()
	path := filepath.Join(t.TempDir(), "push")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	to.Command = append([]string{path}, to.Command...)
	g := given{order: deploytest.Order(t, "shop", p.Chain, mint.Must(p.KeyPEM()))}
	g.order.Token = 7
	request, err := json.Marshal(program.Request{Order: g.order, To: to})
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr strings.Builder
	g.err = program.Run(ctx, request, program.Outside{Environ: []string{"PATH=" + os.Getenv("PATH"), "CERTMEDIC_NAME=other"}, Stdout: &out, Stderr: &stderr})
	g.out, g.stderr = out.String(), stderr.String()
	if _, err := os.Stat(g.order.Work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
	deploytest.NoKey(t, mint.Must(p.KeyPEM()), string(request))
	return g
}

// TestProgram shows what a program gets: files that only it may read, paths in its arguments and its
// environment, and the version on its standard input where that is wanted.
func TestProgram(t *testing.T) {
	t.Parallel()
	p := pair()
	target := t.TempDir()
	g := give(t.Context(), t, p, `
stat -c '%a %n' . *.pem; env | grep -c PRIVATE; pwd
echo "$1 $2 $X $CERTMEDIC_NAME $CERTMEDIC_FINGERPRINT $CERTMEDIC_TOKEN"
cp "$CERTMEDIC_CERT" "$CERTMEDIC_CHAIN" "$CERTMEDIC_FULLCHAIN" "$CERTMEDIC_PRIVKEY" `+target+`
cat >`+target+`/stdin
`, certmedic.Program{Command: []string{"--key={privkey}", "{name}@edge"}, Env: map[string]string{"X": "y"}, Stdin: true})
	if g.err != nil {
		t.Fatalf("%v\n%s", g.err, g.stderr)
	}
	want := strings.Join([]string{
		"700 .", "600 cert.pem", "600 chain.pem", "600 fullchain.pem", "600 privkey.pem", "0", g.order.Work,
		"--key=" + g.order.Work + "/privkey.pem shop@edge y shop " + string(g.order.Chain[0]) + " 7", "",
	}, "\n")
	if g.out != want {
		t.Errorf("it says\n%s\nwant\n%s", g.out, want)
	}
	key := string(mint.Must(p.KeyPEM()))
	for name, want := range map[string]string{"cert.pem": string(p.CertPEM()), "chain.pem": string(p.ChainPEM()), "fullchain.pem": string(p.FullchainPEM()), "privkey.pem": key} {
		if data, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(data) != want {
			t.Errorf("%s is\n%s%v", name, data, err)
		}
	}
	var document version.Document
	data, err := os.ReadFile(filepath.Join(target, "stdin"))
	if err := errors.Join(err, json.Unmarshal(data, &document)); err != nil || document.Privkey != key || document.Name != "shop" || document.Token != 7 {
		t.Errorf("its standard input is %s, %v", data, err)
	}
}

// TestFailures shows how it is told that a program did not succeed, or was not run.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		about, text string
		to          certmedic.Program
		want        string
	}{
		{"it fails", "echo no such host >&2; exit 23", certmedic.Program{}, "exit status 23"},
		{"a placeholder that there is none of", "", certmedic.Program{Command: []string{"{key}"}}, "no value for {key}"},
	} {
		if g := give(t.Context(), t, pair(), row.text, row.to); g.err == nil || !strings.Contains(g.err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, g.err, row.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if g := give(ctx, t, pair(), "exec sleep 60", certmedic.Program{}); g.err == nil || time.Since(begun) > 30*time.Second {
		t.Errorf("a program that goes on: %v after %s", g.err, time.Since(begun))
	}
	if err := program.Run(t.Context(), []byte("{"), program.Outside{}); err == nil {
		t.Error("a request that is cut off is taken")
	}
}

// TestOpenProgram shows that a program which others may change is not run.
func TestOpenProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "push")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch "+dir+"/ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(program.Request{Order: order(t, pair()), To: certmedic.Program{Command: []string{path}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Run(t.Context(), request, program.Outside{}); err == nil || !strings.Contains(err.Error(), "may be written by others") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("it was run")
	}
}

func TestCheck(t *testing.T) {
	for argv, ok := range map[string]bool{
		"rsync -e ssh {fullchain} {privkey} deploy@edge:/etc/ssl/": true, "x {name}-{fingerprint}.pem {folder} {cert}{chain}": true,
		"x {fulchain}": false, "{host}": false, "awk {print;}": true,
	} {
		if err := program.Check(strings.Fields(argv)); (err == nil) != ok {
			t.Errorf("%q: %v", argv, err)
		}
	}
}
