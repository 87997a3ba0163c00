package acmelog

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// write writes a file of a folder of logs.
func write(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func packed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// version is a run of a version, by which runs are told apart.
func version(v string) []byte {
	return logOf("DEBUG:certbot.main:certbot version: "+v, "DEBUG:certbot.renewal:no renewal failures")
}

func versions(log Log) string {
	var all []string
	for _, run := range log.Runs {
		all = append(all, run.Version)
	}
	return strings.Join(all, " ")
}

func TestFilesOfALog(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "letsencrypt.log", append(version("8"), version("9")...))
	write(t, dir, "letsencrypt.log.1", version("7"))
	write(t, dir, "letsencrypt.log.2.gz", packed(t, version("6")))
	write(t, dir, "letsencrypt.log.10", version("5"))
	write(t, dir, "letsencrypt.log-20261101", version("4"))
	write(t, dir, "letsencrypt.log-20261001.gz", packed(t, version("3")))
	for _, other := range []string{"letsencrypt.log.", "letsencrypt.log.1.bak", "letsencrypt.log.x", "letsencrypt.log~", "other.log", "letsencrypt.log.0"} {
		write(t, dir, other, version("other"))
	}
	for _, row := range []struct {
		about string
		o     Options
		want  string
	}{
		{"all, the newest last", Options{Path: dir}, "3 4 5 6 7 8 9"},
		{"the newest four", Options{Path: dir, Runs: 4}, "6 7 8 9"},
		{"the newest of a file with two", Options{Path: dir, Runs: 1}, "9"},
		{"one file", Options{Path: filepath.Join(dir, "letsencrypt.log.2.gz")}, "6"},
	} {
		if log := Read(row.o); versions(log) != row.want || log.Problem != "" || log.Folder != dir {
			t.Errorf("%s: %q of %q, problem %q", row.about, versions(log), log.Folder, log.Problem)
		}
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "letsencrypt.log")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "letsencrypt.log.1.gz", []byte("not packed"))
	write(t, dir, "letsencrypt.log.2", version("1"))
	if log := Read(Options{Path: dir}); versions(log) != "1" || !strings.Contains(log.Problem, "letsencrypt.log") {
		t.Errorf("beside a pipe and a file that is not packed: %q, problem %q", versions(log), log.Problem)
	}
	for _, path := range []string{filepath.Join(dir, "none"), t.TempDir()} {
		if log := Read(Options{Path: path}); len(log.Runs) != 0 || log.Problem == "" || !log.Oldest.IsZero() {
			t.Errorf("%s: %+v", path, log)
		}
	}
	if log := Read(Options{Client: Lego}); log.Problem == "" {
		t.Error("it is not said that nobody knows where lego logs")
	}
}

func TestEndOfALargeFile(t *testing.T) {
	var data []byte
	for len(data) < maxFile {
		data = append(data, version("old")...)
		data = append(data, bytes.Repeat([]byte("and so on\n"), 1000)...)
	}
	lines := bytes.Count(data, []byte("\n"))
	path := write(t, t.TempDir(), "letsencrypt.log", append(data, version("new")...))
	log := Read(Options{Path: path})
	if len(log.Runs) != defaultRuns {
		t.Fatalf("%d runs", len(log.Runs))
	}
	if last := log.Runs[len(log.Runs)-1]; last.Version != "new" || last.First.Number != lines+1 {
		t.Errorf("the last run is of %s in line %d, want line %d", last.Version, last.First.Number, lines+1)
	}
}

func TestReaderReadsWhatChanged(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "letsencrypt.log", version("1"))
	var r Reader
	for _, row := range []struct {
		about, want string
		change      func()
	}{
		{"at first", "1", func() {}},
		{"nothing", "1", func() {}},
		{"it grew", "1 2", func() { write(t, dir, "letsencrypt.log", append(version("1"), version("2")...)) }},
		{"it was rotated", "1 2 3", func() {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			write(t, dir, "letsencrypt.log", version("3"))
		}},
	} {
		row.change()
		log := r.Read(Options{Path: dir})
		if versions(log) != row.want || log.Problem != "" {
			t.Errorf("%s: %q, want %q, problem %q", row.about, versions(log), row.want, log.Problem)
		}
	}
	if first := r.Read(Options{Path: dir}).Runs[0].First; first.File != path+".1" {
		t.Errorf("the first line is said to stand in %s", first.File)
	}
}

func TestRunsThatNeverGotToTheLog(t *testing.T) {
	dir, early := t.TempDir(), t.TempDir()
	write(t, dir, "letsencrypt.log", []byte(strings.ReplaceAll(string(version("1")), "06:25", "05:25")+strings.ReplaceAll(string(version("3")), "06:25", "07:25")))
	if err := os.MkdirAll(filepath.Join(early, "certbot-log-x1"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, early, "certbot-log-x1/log", logOf("DEBUG:certbot.main:certbot version: 2", "ERROR:certbot._internal.log:Another instance of Certbot is already running."))
	log := Read(Options{Path: dir, Early: early})
	if versions(log) != "1 2 3" || len(log.Runs[1].Notes) != 1 || log.Runs[1].Notes[0].Cause != certmedic.CauseLockHeld {
		t.Errorf("%q: %+v", versions(log), log.Runs)
	}
	if log := Read(Options{Path: dir}); versions(log) != "1 3" {
		t.Errorf("without them: %q", versions(log))
	}
}

func TestRunsOfALineage(t *testing.T) {
	at := func(tree, name, text string) string {
		return fmt.Sprintf("DEBUG:certbot._internal.display.obj:Notifying user:   %s/live/%s/fullchain.pem (%s)", tree, name, text)
	}
	run := func(messages ...string) []byte {
		return logOf(append([]string{"DEBUG:certbot._internal.main:certbot version: 5"}, messages...)...)
	}
	read := func(runs ...[]byte) Log {
		return Read(Options{Path: write(t, t.TempDir(), "letsencrypt.log", bytes.Join(runs, nil))})
	}
	log := read(run(at("/etc/letsencrypt", "a", "success"), at("/etc/letsencrypt", "b", "success")), run(at("/srv/le", "a", "failure")), run(at("/etc/letsencrypt", "b", "failure")))
	if got := log.Of("a", "/etc/letsencrypt/live/a"); len(got) != 1 || got[0].Renewals[0].Result != Renewed {
		t.Errorf("of two trees: %+v", got)
	}
	if got := log.Attempts("/etc/letsencrypt")["a"]; got.Word != AttemptOK {
		t.Errorf("of two trees: %+v", got)
	}
	contained := read(run(at("/etc/letsencrypt", "a", "failure")))
	if got := contained.Of("a", "/srv/volumes/le/live/a"); len(got) != 1 {
		t.Errorf("of a container, in which the tree has another name: %+v", got)
	}
	if got := log.Of("c", "/etc/letsencrypt/live/c"); len(got) != 0 {
		t.Errorf("of a lineage that no run is about: %+v", got)
	}
}

func TestLastAttempt(t *testing.T) {
	begin := []string{"DEBUG:certbot._internal.main:certbot version: 5", "DEBUG:certbot._internal.display.obj:Notifying user: Processing /etc/letsencrypt/renewal/shop.example.test.conf"}
	end := "DEBUG:certbot._internal.renewal:no renewal failures"
	run := func(messages ...string) []byte { return logOf(append(append(begin[:2:2], messages...), end)...) }
	ok := run(stored2...)
	hook := run(append(stored2[:1:1], "INFO:certbot.compat.misc:Running deploy-hook command: x", "WARNING:certbot.display.ops:Hook 'deploy-hook' reported error code 1")...)
	failed := run("ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: x")
	notDue := run("DEBUG:certbot._internal.display.obj:Notifying user: Certificate not yet due for renewal")
	dry := run("INFO:certbot._internal.hooks:Dry run: skipping deploy hook command: x", "ERROR:certbot._internal.renewal:Failed to renew certificate shop.example.test with error: x")
	cut := logOf(begin...)
	for _, row := range []struct {
		about string
		runs  [][]byte
		want  Word
	}{
		{"it went well", [][]byte{ok}, AttemptOK},
		{"since then it is not due", [][]byte{ok, notDue}, AttemptNotDue},
		{"a hook failed", [][]byte{ok, hook}, AttemptHookFailed},
		{"a run that had nothing to do mends no hook", [][]byte{hook, notDue, notDue}, AttemptHookFailed},
		{"nor a reload that failed", [][]byte{failed, notDue}, AttemptFailed},
		{"another renewal does", [][]byte{hook, notDue, ok}, AttemptOK},
		{"a dry run is no attempt", [][]byte{ok, dry}, AttemptOK},
		{"one that does not end is not known", [][]byte{hook, cut}, ""},
		{"nothing is known", nil, ""},
	} {
		log := Read(Options{Path: write(t, t.TempDir(), "letsencrypt.log", bytes.Join(row.runs, nil))})
		if got := log.Attempts("/etc/letsencrypt")[shop]; got.Word != row.want {
			t.Errorf("%s: %q, want %q", row.about, got.Word, row.want)
		}
	}
}

func TestEvidence(t *testing.T) {
	got := Line{File: "/var/log/letsencrypt/letsencrypt.log", Number: 812, Text: "Hook 'deploy-hook' reported error code 127"}.Evidence()
	if want := (certmedic.Evidence{Source: "/var/log/letsencrypt/letsencrypt.log:812", Line: "Hook 'deploy-hook' reported error code 127"}); got != want {
		t.Errorf("%+v", got)
	}
}

func FuzzRuns(f *testing.F) {
	files, err := filepath.Glob("testdata/certbot-2.1/*.log")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d logs, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("2026/11/23 08:52:09 [INFO] [a.test] acme: Trying renewal with 10 hours remaining\n2026/11/23 08:52:09 Could not obtain certificates:\n\terror\n"))
	f.Add([]byte("[Mon Nov 23 08:52:09 UTC 2026] Renew: 'a'\n[Mon Nov 23 08:52:09 UTC 2026] a:Verify error:x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, client := range []Client{Certbot, Lego, ACMESh} {
			runs := runsOf(client, "x", data, 0)
			if len(runs) > bytes.Count(data, []byte("\n"))+1 {
				t.Errorf("%d runs in %d lines", len(runs), bytes.Count(data, []byte("\n"))+1)
			}
			log := Log{Runs: runs}
			log.Attempts("/etc/letsencrypt")
			log.Of("a", "/etc/letsencrypt/live/a")
			for _, run := range runs {
				for _, n := range run.Renewals {
					if len(n.Detail) > 4*maxText || n.Result == Failed && n.Cause == "" {
						t.Errorf("%+v", n)
					}
				}
			}
		}
	})
}

// BenchmarkRead reads the log of a host with 500 lineages that kept a thousand runs.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	messages := append([]string(nil), opening2[:5]...)
	for i := range 200 {
		messages = append(messages, fmt.Sprintf("DEBUG:certbot._internal.display.obj:Notifying user: Processing /etc/letsencrypt/renewal/shop%d.conf", i))
	}
	data := logOf(append(messages, "DEBUG:certbot._internal.renewal:no renewal failures")...)
	for i := range 1000 {
		name := "letsencrypt.log"
		if i > 0 {
			name = fmt.Sprintf("%s.%d", name, i)
		}
		write(b, dir, name, data)
	}
	b.SetBytes(int64(defaultRuns * len(data)))
	for b.Loop() {
		if log := Read(Options{Path: dir}); len(log.Runs) != defaultRuns {
			b.Fatalf("%d runs", len(log.Runs))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/read")
}
