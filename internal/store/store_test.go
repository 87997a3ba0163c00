package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/rules"
)

// TestMain turns the test binary into a writer that is killed, see TestKillLosesNothing.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STORE_TEST_DIR"); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// writeForEver writes action after action and says so on stdout once each is kept.
func writeForEver(dir string) error {
	s, err := Open(dir, time.Second)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err := s.Record(action(i, "shop")); err != nil {
			return err
		}
		if err := s.SaveMemory(map[string]Memory{"shop": {Known: map[certmedic.Fingerprint]time.Time{certmedic.Fingerprint(fmt.Sprint(i)): {}}}}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// action returns the ith action, which started i seconds after the start.
func action(i int, certificate string) certmedic.Action {
	at := start.Add(time.Duration(i) * time.Second)
	return certmedic.Action{
		ID: at.Format("20060102T150405.000") + "-abcdef", Certificate: certificate, Kind: certmedic.ActionRedeploy, Version: "aa",
		StartedAt: at, EndedAt: at.Add(time.Second), Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed, Detail: "sümmary"},
		Runs:    []certmedic.Run{{Name: "x.sh", Argv: []string{"sh"}, Result: certmedic.RunExited, ExitCode: 3, PID: 7, PIDStart: 1 << 60, Stderr: "no\n"}},
		Changes: []certmedic.Change{{Path: "/a", Backup: "/b", Mode: 0o640, UID: 1, GID: -1}},
	}
}

func incident(i int, certificate string) certmedic.Incident {
	at := start.Add(time.Duration(i) * time.Second)
	return certmedic.Incident{
		ID: fmt.Sprint("incident", i), Rule: "expired", Subject: certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: certificate},
		State: certmedic.StateResolved, Members: []string{"a"}, Evidence: []certmedic.Evidence{{Source: "s", Line: "l"}}, PendingAt: at, EndedAt: at,
	}
}

func open1(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests close it themselves
	return s
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestEverythingSurvivesReopening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	s := open1(t, dir)
	state := rules.State{Episode: "e1", Instances: []rules.Instance{{
		Incident: incident(0, "shop"), Held: time.Second, Seen: start, Done: []string{"notify", "redeploy"}, Climbed: []certmedic.StepKind{certmedic.StepNotify, "redeploy"},
	}}}
	memory := Memory{Bound: map[string]time.Time{"shop:443|192.0.2.1:443": start}, Known: map[certmedic.Fingerprint]time.Time{"aa": start}}
	entry := alerting.Entry{ID: "1", Receiver: "ops"}
	must(t, s.SaveRules(map[string]rules.State{"shop": state}), s.SaveMemory(map[string]Memory{"shop": memory}), s.Record(action(1, "shop")),
		s.SaveIncident(incident(1, "shop")), s.Outbox().Put(entry), s.Close())

	check := func(s *Store) {
		t.Helper()
		gotRules, err1 := s.Rules()
		gotMemory, err2 := s.Memories()
		gotActions, err3 := s.Actions("", time.Time{})
		gotIncidents, err4 := s.Incidents("", 10)
		gotEntries, err5 := s.Outbox().Pending()
		must(t, err1, err2, err3, err4, err5)
		for _, row := range []struct{ got, want any }{
			{gotRules, map[string]rules.State{"shop": state}},
			{gotMemory, map[string]Memory{"shop": memory}},
			{gotActions, []certmedic.Action{action(1, "shop")}},
			{gotIncidents, []certmedic.Incident{incident(1, "shop")}},
			{gotEntries, []alerting.Entry{entry}},
		} {
			if !reflect.DeepEqual(row.got, row.want) {
				t.Errorf("got\n%+v\nwant\n%+v", row.got, row.want)
			}
		}
	}
	s = open1(t, dir)
	check(s)
	must(t, s.Close())
	for path, want := range map[string]fs.FileMode{dir: 0o700, filepath.Join(dir, FileName): 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
	reader, err := OpenRead(dir, time.Second)
	must(t, err)
	defer reader.Close()
	check(reader)
	if err := reader.Record(action(2, "shop")); err == nil {
		t.Error("state that was opened for reading can be written")
	}
}

func TestReplacingAndSelecting(t *testing.T) {
	s := open1(t, t.TempDir())
	for i := range 5 {
		name := []string{"shop", "mail"}[i%2]
		must(t, s.Record(action(i, name)), s.SaveIncident(incident(i, name)))
	}
	again := action(2, "shop")
	again.Outcome.Kind = certmedic.OutcomeHealed
	must(t, s.Record(again))

	all, err := s.Actions("", time.Time{})
	must(t, err)
	if len(all) != 5 || all[0].ID != action(4, "").ID || all[2].Outcome.Kind != certmedic.OutcomeHealed {
		t.Errorf("actions %+v", all)
	}
	since, err := s.Actions("shop", start.Add(2*time.Second))
	must(t, err)
	if len(since) != 2 || since[1].ID != again.ID {
		t.Errorf("actions of shop since the third %+v", since)
	}
	incidents, err := s.Incidents("shop", 2)
	must(t, err)
	if len(incidents) != 2 || incidents[0].ID != "incident4" || incidents[1].ID != "incident2" {
		t.Errorf("the two newest incidents of shop %+v", incidents)
	}
	none, err := s.Incidents("nobody", 10)
	must(t, err)
	if none == nil || len(none) != 0 {
		t.Errorf("incidents of nobody %#v, want an empty list", none)
	}
}

func TestOutbox(t *testing.T) {
	alertingtest.TestOutbox(t, func() alerting.Outbox { return open1(t, t.TempDir()).Outbox() })
}

func TestOneWriterAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir)
	if _, err := Open(dir, 10*time.Millisecond); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second writer: %v", err)
	}
	if _, err := OpenRead(dir, 10*time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("a reader beside a writer: %v", err)
	}
	must(t, s.Close())
	first, err := OpenRead(dir, time.Second)
	must(t, err)
	second, err := OpenRead(dir, time.Second)
	must(t, err)
	must(t, first.Close(), second.Close())
	open1(t, dir)
}

func TestOpeningWhatIsNotState(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenRead(dir, time.Second); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading where nothing is: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("nonsense\n", 2000)), 0o600))
	for name, open := range map[string]func(string, time.Duration) (*Store, error){"write": Open, "read": OpenRead} {
		if _, err := open(dir, time.Second); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("opening nonsense to %s: %v", name, err)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	if _, err := Open(filepath.Join(dir, "file"), time.Second); err == nil {
		t.Error("a file was taken for the state folder")
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir)
	must(t, s.Record(action(1, "shop")), s.update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("version"), binary.BigEndian.AppendUint64(nil, version+1))
	}), s.Close())
	for name, open := range map[string]func(string, time.Duration) (*Store, error){"write": Open, "read": OpenRead} {
		if _, err := open(dir, time.Second); err == nil || !strings.Contains(err.Error(), "newer certmedic") {
			t.Errorf("opening it to %s: %v", name, err)
		}
	}
	must(t, raw(dir, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("version"), []byte("x"))
	}))
	if _, err := Open(dir, time.Second); err == nil {
		t.Error("a broken version was taken")
	}
}

func raw(dir string, f func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(filepath.Join(dir, FileName), 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	return errors.Join(db.Update(f), db.Close())
}

func TestBrokenValueIsNamed(t *testing.T) {
	s := open1(t, t.TempDir())
	reads := map[string]func() error{
		bucketRules:     func() error { _, err := s.Rules(); return err },
		bucketMemory:    func() error { _, err := s.Memories(); return err },
		bucketActions:   func() error { _, err := s.Actions("", time.Time{}); return err },
		bucketIncidents: func() error { _, err := s.Incidents("", 10); return err },
		bucketOutbox:    func() error { _, err := s.Outbox().Pending(); return err },
	}
	for bucket, read := range reads {
		must(t, s.update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte("the key"), []byte("{broken")) }))
		if err := read(); err == nil || !strings.Contains(err.Error(), bucket) || !strings.Contains(err.Error(), "the key") {
			t.Errorf("%s: error %v names neither", bucket, err)
		}
	}
}

func TestTrimKeepsTheNewest(t *testing.T) {
	s := open1(t, t.TempDir())
	const all, keep = 2000, 300
	must(t, s.update(func(tx *bbolt.Tx) error {
		for i := range all {
			if err := tx.Bucket([]byte(bucketActions)).Put(fmt.Appendf(nil, "%05d", i), []byte("{}")); err != nil {
				return err
			}
		}
		return nil
	}), s.trim(bucketActions, keep))
	first, n := "", 0
	must(t, s.each(bucketActions, false, func(key string, _ []byte) (bool, error) {
		if n++; n == 1 {
			first = key
		}
		return true, nil
	}))
	if want := fmt.Sprintf("%05d", all-keep); n != keep || first != want {
		t.Errorf("%d are left, the oldest %s; want %d from %s on", n, first, keep, want)
	}
	must(t, s.Trim())
}

// TestKillLosesNothing kills a writer again and again: what it said was kept is there.
func TestKillLosesNothing(t *testing.T) {
	dir := t.TempDir()
	last := 0
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STORE_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err, cmd.Start())
		lines := bufio.NewScanner(out)
		acknowledged := -1
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
				t.Fatal(err)
			}
			if acknowledged == last+20+7*round {
				must(t, cmd.Process.Kill())
			}
		}
		_ = cmd.Wait() // it was killed
		s := open1(t, dir)
		actions, err := s.Actions("", time.Time{})
		must(t, err)
		memory, err := s.Memories()
		must(t, err)
		if len(actions) <= acknowledged || len(memory["shop"].Known) != 1 {
			t.Fatalf("%d actions are there, %d were kept", len(actions), acknowledged+1)
		}
		must(t, s.Close())
	}
}

// TestDamagedStateIsAnError shows that a file that is no state, or no longer all of it, is
// told in a sentence and never crashes.
func TestDamagedStateIsAnError(t *testing.T) {
	fill := func(t *testing.T, dir string) string {
		s, err := Open(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if err := s.Record(certmedic.Action{ID: fmt.Sprintf("%04d", i), Why: strings.Repeat("x", 200)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, FileName)
	}
	tests := []struct {
		about  string
		damage func(t *testing.T, file string)
		want   string
	}{
		{"its end is gone", func(t *testing.T, file string) {
			if err := os.Truncate(file, 20_000); err != nil {
				t.Fatal(err)
			}
		}, "damaged"},
		{"it is a pipe", func(t *testing.T, file string) {
			if err := errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
		{"it is something else", func(t *testing.T, file string) {
			if err := os.WriteFile(file, bytes.Repeat([]byte("garbage "), 5000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "opening the state"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			for name, open := range map[string]func(string, time.Duration) (*Store, error){"to write": Open, "to read": OpenRead} {
				dir := filepath.Join(t.TempDir(), "state")
				tt.damage(t, fill(t, dir))
				if _, err := open(dir, time.Second); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("opened %s: %v", name, err)
				}
			}
		})
	}
}

// TestForeignFolderIsLeftAlone shows that a folder that is not certmedic's own is neither
// used nor closed to others.
func TestForeignFolderIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(filepath.Join(dir, "passwd"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, 0); err == nil || !strings.Contains(err.Error(), "other files") {
		t.Errorf("opened: %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestTroubleIsToldUntilAWriteSucceeds(t *testing.T) {
	s, err := Open(t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	full := errors.New("disk full")
	begin := time.Now()
	for range 2 {
		if err := s.update(func(*bbolt.Tx) error { return full }); !errors.Is(err, full) {
			t.Fatal(err)
		}
	}
	if since, err := s.Trouble(); !errors.Is(err, full) || since.Before(begin) {
		t.Errorf("trouble %v since %v", err, since)
	}
	if err := s.Touch(time.Now()); err != nil {
		t.Fatal(err)
	}
	if since, err := s.Trouble(); err != nil || !since.IsZero() {
		t.Errorf("after a write: trouble %v since %v", err, since)
	}
}
