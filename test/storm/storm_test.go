package storm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// usual is the storm of `make test`, with 1,000 kills in `make chaos`.
func usual(t *testing.T) scale {
	t.Helper()
	s := scale{seed: 1, certificates: 200, teams: 40, kills: 60, drain: time.Minute}
	if os.Getenv("CERTMEDIC_CHAOS") != "" {
		s.kills, s.drain = 1000, 3*time.Minute
	}
	for name, to := range map[string]func(uint64){
		"CERTMEDIC_STORM_SEED":  func(n uint64) { s.seed = n },
		"CERTMEDIC_STORM_KILLS": func(n uint64) { s.kills = int(n) },
	} {
		text := os.Getenv(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		to(n)
	}
	return s
}

// fakesSettings says by which limits the fakes go.
const fakesSettings = `Every team has a channel and an app of Slack (a message a second, two at once; 50 calls of a method in 10 s, where Slack counts
them in a minute) and a service of PagerDuty (120 calls in 10 s, where PagerDuty counts them in a minute).`

// program builds certmedic.
func program(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, ".tools", "storm", "certmedic")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "./cmd/certmedic")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building certmedic: %v: %s", err, out)
	}
	return path
}

func TestStorm(t *testing.T) {
	s := usual(t)
	names, tallies := []string{"certmedic"}, []tally{storm(t, s, medicIn(program(t)), nil)}
	beside := (os.Getenv("CERTMEDIC_CHAOS") != "" || os.Getenv("CERTMEDIC_BENCH") != "") && hasManager(t)
	if beside {
		names, tallies = append(names, "Alertmanager"), append(tallies, storm(t, s, managerIn, nil))
	}
	var out bytes.Buffer
	if err := table(&out, names, tallies); err != nil {
		t.Fatal(err)
	}
	t.Logf("a storm over %d certificates of %d teams, seed %d\n%s%s", s.certificates, s.teams, s.seed, out.String(), fakesSettings)
	if beside {
		t.Log(managerSettings)
	}
	ours := tallies[0]
	if ours.wrong() {
		t.Errorf("to repeat: CERTMEDIC_STORM_SEED=%d CERTMEDIC_STORM_KILLS=%d; it was killed at\n%s\n%s", s.seed, s.kills, points(s), strings.Join(ours.why, "\n"))
	}
}

// TestTheStormNotices takes from certmedic, at every kill, what it remembers: the counts must see it.
func TestTheStormNotices(t *testing.T) {
	s := scale{seed: 1, certificates: 60, teams: 20, kills: 12, drain: 4 * time.Second}
	got := storm(t, s, medicIn(program(t)), func(who subject) error { return who.(*medic).forget() })
	if got.lostTriggers+got.lostEnds == 0 || got.postsTwice == 0 || got.forgottenSilences == 0 || got.forgottenAcks == 0 {
		t.Errorf("nobody noticed: %+v", got)
	}
	t.Logf("lost %d triggers and %d ends, posted %d twice, forgot %d silences and %d acknowledgements", got.lostTriggers, got.lostEnds, got.postsTwice, got.forgottenSilences, got.forgottenAcks)
}

func medicIn(program string) func(*testing.T, scale, *fakes) subject {
	return func(t *testing.T, s scale, f *fakes) subject { return newMedic(t, s, f, program) }
}

// storm has everything happen to a subject that is killed again and again; after each kill between is
// called, nil calls nothing.
func storm(t *testing.T, s scale, newSubject func(*testing.T, scale, *fakes) subject, between func(subject) error) tally {
	t.Helper()
	began := time.Now()
	f := newFakes(t, s.teams)
	who := newSubject(t, s, f)
	calm, calmed := context.WithCancel(t.Context())
	end, ended := context.WithCancel(t.Context())
	defer ended()
	d := newDrive(calm, end, who, f)
	watching, stopped := context.WithCancel(t.Context())
	var all, watch sync.WaitGroup
	watch.Go(func() { d.watch(watching) })
	for i, c := range s.fleet() {
		w := &walk{drive: d, c: c}
		all.Go(func() { w.run(lastingFor(i)) })
	}
	k := killer{t: t, subject: who, fakes: f}
	defer k.end()
	for _, point := range s.killPoints() {
		k.life(point)
		if between == nil {
			continue
		}
		if err := between(who); err != nil {
			t.Fatal(err)
		}
	}
	k.start()
	calmed()
	timer := time.AfterFunc(s.drain, ended)
	defer timer.Stop()
	all.Wait()
	d.settle()
	stopped()
	watch.Wait()
	k.kill()
	d.tally.kills, d.tally.took = s.kills, time.Since(began)
	for _, fault := range append(d.tally.faults, f.refused()...) {
		t.Error(fault)
	}
	return d.tally
}

// lastingFor gives every tenth certificate a story that lasts.
func lastingFor(i int) story {
	if i%10 != 0 {
		return nil
	}
	return lasting()[i/10%len(lasting())]
}

// points lists the moments at which the subject was killed.
func points(s scale) string {
	var b strings.Builder
	for i, p := range s.killPoints() {
		fmt.Fprintf(&b, "%d: %v\n", i+1, p)
	}
	return b.String()
}

// quiet is how long nothing may change before it is over.
const quiet = 2 * time.Second

// settle waits until everybody knows the end of everything, and for a while more, and judges.
func (d *drive) settle() {
	d.until("all is over", func() bool {
		for _, k := range d.held.all {
			if k.open || k.posts > 0 && !k.over {
				return false
			}
		}
		return true
	})
	time.Sleep(quiet)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, all := d.subject.look(ctx)
	d.fakes.threads(all)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tally.judge(all, d.wants, d.hushed, d.broken)
	d.tally.limited = d.fakes.limited()
}

// killer starts and kills a subject.
type killer struct {
	t       *testing.T
	subject subject
	fakes   *fakes
	process *exec.Cmd
	died    chan struct{} // closed when it is dead
	log     bytes.Buffer
}

// end kills what may run still where the test gave up.
func (k *killer) end() {
	if k.process != nil && k.process.Process != nil {
		_ = k.process.Process.Kill()
	}
}

// patience bounds waits for what takes a second on an idle machine.
const patience = 30 * time.Second

func (k *killer) start() {
	k.t.Helper()
	k.log.Reset()
	k.process = k.subject.command()
	k.process.Stdout, k.process.Stderr = &k.log, &k.log
	if err := k.process.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.died = make(chan struct{})
	go func() {
		_ = k.process.Wait() // it is killed
		close(k.died)
	}()
}

// life is one from its start to its death.
func (k *killer) life(p kill) {
	k.t.Helper()
	k.start()
	process := k.process.Process
	k.fakes.arm(p.call, p.done, func() { _ = process.Kill() })
	if p.ready {
		k.awaitReady()
	}
	select {
	case <-time.After(p.after):
	case <-k.died:
	}
	k.fakes.arm(0, false, nil)
	k.kill()
}

func (k *killer) awaitReady() {
	k.t.Helper()
	for deadline := time.Now().Add(patience); !k.subject.ready() && !k.dead(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			k.t.Fatalf("it is not ready after %v: %s", patience, k.log.String())
		}
	}
}

func (k *killer) dead() bool {
	select {
	case <-k.died:
		return true
	default:
		return false
	}
}

// kill kills it, and makes sure that it did not end in another way.
func (k *killer) kill() {
	k.t.Helper()
	if err := k.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		k.t.Fatal(err)
	}
	<-k.died
	status, ok := k.process.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		k.t.Fatalf("it was to be killed, but ended by itself: %v: %s", k.process.ProcessState, k.log.String())
	}
}
