package remote_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/remote"
	"github.com/certmedic/certmedic/remediate/remote/session"
	"github.com/certmedic/certmedic/remediate/remote/sshfake"
)

// requests returns how many requests an undisturbed deployment takes until it is kept.
func requests(t *testing.T, version string, swap bool) int {
	t.Helper()
	w := newWorld(t, swap)
	faults := w.server.Misbehave(&sshfake.Faults{})
	w.do(w.deploy(w.order(version, 1)).Keep(t.Context()))
	return faults.Requests()
}

// sampled reports whether a point is tried: with CERTMEDIC_CHAOS=1 each is, else a sample.
func sampled(n, every int) bool { return os.Getenv("CERTMEDIC_CHAOS") == "1" || n%every == 0 }

// TestCuts ends the connection at each request of a deployment, before it is done and after it was
// done. No file is ever torn, and the next session ends what was left: it finishes the version, puts
// it back, or brings the next one.
func TestCuts(t *testing.T) {
	for _, swap := range []bool{false, true} {
		for _, version := range []string{"good", "heavy"} { // heavy is put back, which can be cut, too
			for n := range requests(t, version, swap) {
				if !sampled(n, 59) {
					continue
				}
				for _, after := range []bool{false, true} {
					t.Run(fmt.Sprintf("swap %v, %s, request %d, after it %v", swap, version, n, after), func(t *testing.T) {
						t.Parallel()
						faults := &sshfake.Faults{CutBefore: n + 1}
						if after {
							faults = &sshfake.Faults{CutAfter: n + 1}
						}
						cut(t, swap, version, n+1, faults)
					})
				}
			}
		}
	}
}

func cut(t *testing.T, swap bool, version string, n int, faults *sshfake.Faults) {
	w := newWorld(t, swap)
	w.server.Misbehave(faults)
	d := w.deploy(w.order(version, 1))
	_ = d.Keep(t.Context()) // where it cannot, the next session ends it
	switch kind := d.Outcome.Kind; kind {
	case certmedic.OutcomeRunning, certmedic.OutcomePutBack, certmedic.OutcomeUnverified:
	default:
		t.Errorf("the outcome is %+v", d.Outcome)
	}
	w.whole("old", version)
	w.server.Misbehave(&sshfake.Faults{})
	switch n % 3 {
	case 0:
		w.install("good", 2)
		w.holds("good")
	case 1:
		w.install("better", 2)
		w.holds("better")
	default:
		recovered := remote.Recover(t.Context(), w.dial(), w.order(version, 2))
		w.whole("old", version)
		if recovered.Outcome.Kind != certmedic.OutcomePutBack && recovered.Outcome.Kind != certmedic.OutcomeHealed {
			t.Errorf("recovering has the outcome %+v", recovered.Outcome)
		}
		if w.read("cert.pem") == "cert old" {
			w.holds("old")
			return
		}
		w.holds(version) // it had ended, and only the answer was lost
	}
}

// TestCutBytes ends the connection after so many bytes, wherever that is.
func TestCutBytes(t *testing.T) {
	for n := range 240 {
		if !sampled(n, 40) {
			continue
		}
		bytes := 1 + 101*n
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.server.Misbehave(&sshfake.Faults{CutBytes: bytes})
			if s, err := session.Dial(t.Context(), w.server.Host(), session.Limits{}); err == nil {
				_ = remote.Deploy(t.Context(), s, w.order("good", 1)).Keep(t.Context())
				s.Close()
			}
			w.whole("old", "good")
			w.server.Misbehave(&sshfake.Faults{})
			w.install("better", 2)
			w.holds("better")
		})
	}
}

// TestFullDisk has each request of sftp fail in turn. What was begun ends in order on the same
// connection, or the next session ends it.
func TestFullDisk(t *testing.T) {
	for n := range requests(t, "good", false) {
		if !sampled(n, 29) {
			continue
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, false)
			w.server.Misbehave(&sshfake.Faults{FailAt: n + 1})
			d := w.deploy(w.order("good", 1))
			kept := d.Keep(t.Context())
			if d.Outcome.Kind == certmedic.OutcomeUnverified && kept == nil {
				w.whole("good")
			} else {
				w.whole("old", "good")
			}
			w.server.Misbehave(&sshfake.Faults{})
			w.install("better", 2)
			w.holds("better")
		})
	}
}

// TestPaused stops a deployment before each of its requests, has another one with a higher token
// done meanwhile, and lets the first go on: it harms nothing.
func TestPaused(t *testing.T) {
	for _, swap := range []bool{false, true} {
		for _, version := range []string{"good", "heavy"} {
			for n := range requests(t, version, swap) {
				if !sampled(n+20, 59) {
					continue
				}
				t.Run(fmt.Sprintf("swap %v, %s, request %d", swap, version, n), func(t *testing.T) {
					t.Parallel()
					paused(t, swap, version, n+1)
				})
			}
		}
	}
}

func paused(t *testing.T, swap bool, version string, n int) {
	w := newWorld(t, swap)
	done := false
	w.server.Misbehave(&sshfake.Faults{Before: func(at int) {
		if at != n {
			return
		}
		done = true
		w.server.Misbehave(&sshfake.Faults{})
		s, err := session.Dial(t.Context(), w.server.Host(), session.Limits{})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		d := remote.Deploy(t.Context(), s, w.order("next", 2))
		if err := d.Keep(t.Context()); err != nil || d.Outcome.Reason != remote.ReasonInstalled {
			t.Errorf("the next one has the outcome %+v, %v", d.Outcome, err)
		}
	}})
	d := w.deploy(w.order(version, 1))
	kept := d.Keep(t.Context())
	if !done {
		t.Fatalf("request %d never came", n)
	}
	w.whole("next")
	if d.Outcome.Reason == remote.ReasonInstalled && kept == nil {
		t.Log("it had ended before")
	}
	if got := w.tokens(); got != "[2]" {
		t.Errorf("the host knows the tokens %s", got)
	}
	w.server.Misbehave(&sshfake.Faults{})
	w.install("last", 3)
	w.holds("last")
}
