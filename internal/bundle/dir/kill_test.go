package dir_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/dir"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// job is what a process of its own publishes before it is killed.
type job struct {
	Root     string
	Version  bundle.Version
	Token    uint64
	Previous certmedic.Fingerprint
	KillAt   int // the change of the store after which it is killed; 0: never
}

const jobVariable = "CERTMEDIC_TEST_PUBLISH"

func TestMain(m *testing.M) {
	text, asked := os.LookupEnv(jobVariable)
	if !asked {
		os.Exit(m.Run())
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = j.publish()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func signing() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) }

func (j job) publish() error {
	store, err := dir.Open(j.Root)
	if err != nil {
		return err
	}
	steps := 0
	dir.OnStep(store, func() {
		if steps++; steps == j.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal arrives
		}
	})
	options := bundle.Options{
		Token: j.Token, Previous: j.Previous, Member: "m1", Time: time.Now(),
		Seal: bundle.Seal{Plaintext: true}, Key: signing(),
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := bundle.Publish(ctx, store, j.Version, options); err != nil {
		return err
	}
	return bundle.Prune(ctx, store, j.Version.Name, 2)
}

// run does the job in a process of its own, and reports whether that was killed.
func (j job) run(t *testing.T) bool {
	t.Helper()
	text, err := json.Marshal(j)
	must(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it was to be killed after step %d, but %v: %s", j.KillAt, err, out)
	}
	return true
}

// TestKilled kills a publisher after each change that it makes to the folder: each file that is
// begun, written, linked or removed. A consumer finds the old version or the new one, whole, and
// the next publisher goes on.
func TestKilled(t *testing.T) {
	t.Parallel()
	ca := mint.Must(mint.NewCA("Root"))
	issuing := mint.Must(ca.Intermediate("Issuing"))
	var versions []bundle.Version
	for range 4 {
		pair := mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"a.test"}}))
		versions = append(versions, bundle.Version{Name: "shop", Fullchain: pair.FullchainPEM(), Privkey: mint.Must(pair.KeyPEM())})
	}
	trust := bundle.Trust{Keys: []ed25519.PublicKey{signing().Public().(ed25519.PublicKey)}, Opener: bundle.Opener{Plaintext: true}}
	sawOld, sawNew := false, false
	for step := 1; ; step++ {
		root, _ := inMemory(t)
		store := open(t, root)
		var previous certmedic.Fingerprint
		for number, v := range versions[:3] { // more than are kept, so that there is something to prune
			m, err := bundle.Publish(t.Context(), store, v, bundle.Options{
				Token: uint64(number) + 1, Previous: previous, Member: "m0", Time: time.Now(), Seal: bundle.Seal{Plaintext: true}, Key: signing(),
			})
			must(t, err)
			previous = m.Version
		}
		j := job{Root: root, Version: versions[3], Token: 9, Previous: previous, KillAt: step}
		killed := j.run(t)
		b, err := bundle.Latest(t.Context(), store, "shop", trust)
		if err != nil {
			t.Fatalf("killed after step %d: %v", step, err)
		}
		switch string(b.Fullchain) {
		case string(versions[2].Fullchain):
			sawOld = true
		case string(versions[3].Fullchain):
			sawNew = true
		default:
			t.Fatalf("killed after step %d: a consumer finds %s", step, b.Manifest.Version)
		}
		j.KillAt, j.Token = 0, 10
		j.run(t)
		if b, err := bundle.Latest(t.Context(), store, "shop", trust); err != nil || string(b.Fullchain) != string(versions[3].Fullchain) {
			t.Fatalf("killed after step %d, and another one went on: %v", step, err)
		}
		if keys, err := store.List(t.Context(), "shop/versions/"); err != nil || len(keys) != 10 {
			t.Errorf("killed after step %d: in the end there are %d objects, %v", step, len(keys), err)
		}
		if !killed {
			if step < 30 || !sawOld || !sawNew {
				t.Errorf("it had %d steps; the old version was found (%t), and the new one (%t)", step-1, sawOld, sawNew)
			}
			return
		}
	}
}
