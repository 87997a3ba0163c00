package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/deploy/acm"
)

const arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1"

// TestPushes shows what is planned for destinations that are no hosts: nothing that holds the key, with
// AWS's credentials for the one that needs them, and one at a time for each place.
func TestPushes(t *testing.T) {
	v := newVersion(t)
	secret := write(t, t.TempDir(), "token", []byte("x"))
	three := []certmedic.Destination{
		{Name: "a", Reload: []string{"r"}},
		{Name: "b", Push: certmedic.Push{Certificate: "shop", ACM: &certmedic.ACM{Region: "eu-central-1", ARN: arn}}},
		{Name: "c", Push: certmedic.Push{Certificate: "shop", ACM: &certmedic.ACM{Region: "eu-central-1"}}},
		{Name: "d", Push: certmedic.Push{Certificate: "shop", API: &certmedic.API{URL: "https://u:p@lb.test/c?key=s3cr3t", Method: "PUT", TokenFile: secret}}},
		{Name: "e", Push: certmedic.Push{Certificate: "shop", Program: &certmedic.Program{Command: []string{"rsync", "{privkey}"}}}},
	}
	environ := []string{"PATH=/bin", "AWS_SECRET_ACCESS_KEY=s3cr3t", "AWS_PROFILE=x"}
	plan, err := deploy.Steps(three, v.Stored, environ, false)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range plan.Pushes {
		got = append(got, c.Name+": "+strings.Join(c.Argv[1:], " ")+": "+c.About)
		if cloud := slices.Contains(c.Argv, "acm"); cloud != slices.Contains(c.Env, environ[1]) || cloud != c.Proves || !slices.Contains(c.Env, "AWS_PROFILE=x") {
			t.Errorf("%s: the environment is %q, it proves itself: %v", c.Name, c.Env, c.Proves)
		}
		if strings.Contains(string(c.Request), "PRIVATE KEY") {
			t.Errorf("%s: the request holds a key", c.Name)
		}
	}
	want := []string{
		"b: push: step acm: imports it into " + arn,
		"c: push: step acm: imports it into ACM in eu-central-1, as the certificate with the tag certmedic=shop",
		"d: push: step api: sends it to https://xxxxx@lb.test/c?key=xxxxx by PUT",
		"e: push: step program: gives it to rsync {privkey}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pushes are %q, want %q", got, want)
	}
	if len(plan.Commands) != 1 || slices.Contains(plan.Commands[0].Env, environ[1]) {
		t.Errorf("commands %+v", plan.Commands)
	}
	locks := slices.Compact(slices.Sorted(slices.Values(plan.Locks)))
	if len(locks) != 5 || !slices.Contains(locks, arn) {
		t.Errorf("locks %q", locks)
	}
	ready, err := plan.Pushes[0].Ready(7, "/work")
	var q acm.Request
	if err != nil || json.Unmarshal(ready.Request, &q) != nil || q.Token != 7 || q.Work != "/work" || q.To.ARN != arn || !slices.Equal(q.Chain, []certmedic.Fingerprint{v.Chain[0].SHA256, v.Chain[1].SHA256}) {
		t.Errorf("the request becomes %s, %v", ready.Request, err)
	}
	if again, err := deploy.Steps(three, v.Stored, environ, true); err != nil || len(again.Pushes) > 0 {
		t.Errorf("a reload pushes %+v, %v", again.Pushes, err)
	}
	basis := plan.Basis
	if err := os.WriteFile(secret, []byte("longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if plan, err = deploy.Steps(three, v.Stored, environ, false); err != nil || plan.Basis == basis {
		t.Errorf("with another token it is the same cure, %v", err)
	}
}

// TestPushesThatOthersMayChange shows that nothing is given away with a secret that others know, or by a
// program that others may change.
func TestPushesThatOthersMayChange(t *testing.T) {
	v := newVersion(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		about string
		push  certmedic.Push
		mode  os.FileMode
	}{
		{"a token that others may read", certmedic.Push{API: &certmedic.API{TokenFile: path}}, 0o644},
		{"headers that others may read", certmedic.Push{API: &certmedic.API{HeadersFile: path}}, 0o644},
		{"credentials that others may read", certmedic.Push{ACM: &certmedic.ACM{CredentialsFile: path}}, 0o644},
		{"roots that others may change", certmedic.Push{ACM: &certmedic.ACM{CAFile: path}}, 0o666},
		{"a program that others may change", certmedic.Push{Program: &certmedic.Program{Command: []string{path}}}, 0o777},
	} {
		for mode, ok := range map[os.FileMode]bool{row.mode: false, 0o700: true} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if _, err := deploy.Steps([]certmedic.Destination{{Name: "x", Push: row.push}}, v.Stored, nil, false); (err == nil) != ok {
				t.Errorf("%s, mode %o: %v", row.about, mode, err)
			}
		}
	}
}
