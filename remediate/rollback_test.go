package remediate_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// changeLineage is the step of certmedic's own that the remediator runs.
func changeLineage(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return lineage.Run(context.Background(), data, os.Stdout)
}

// withBad makes the stored version, which is served too, a bad one, in place of an older one that
// is kept. What is bad is in a file, by version, so that every process sees it.
func (w *world) withBad(t *testing.T) {
	t.Helper()
	w.bring(t, "old", "kept/1")
	w.bad(t, "stored")
	for _, part := range []string{"fullchain.pem", "privkey.pem"} {
		w.write(t, "installed/"+part, w.read(t, "stored/"+part))
	}
	w.write(t, "loaded/192.0.2.1:443", w.read(t, "stored/fullchain.pem"))
	w.cert.Allow = append(w.cert.Allow, certmedic.ActionRollback)
}

// withLineage is withBad for a lineage as certbot keeps it: the good version is number 1, and the
// bad one, to which the links lead, is number 2.
func (w *world) withLineage(t *testing.T) {
	t.Helper()
	w.withBad(t)
	w.bring(t, "stored", "new")
	for i, folder := range []string{"old", "new"} {
		w.archive(t, folder, i+1)
	}
	if err := errors.Join(os.RemoveAll(w.path("stored")), os.RemoveAll(w.path("kept")), os.MkdirAll(w.path("live/shop"), 0o755), os.MkdirAll(w.path("logs"), 0o755), os.MkdirAll(w.path("work"), 0o755)); err != nil {
		t.Fatal(err)
	}
	w.lead(t, 2)
	if err := os.Symlink("live/shop", w.path("stored")); err != nil {
		t.Fatal(err)
	}
	w.write(t, "renewal/shop.conf", "# as certbot wrote it\nversion = 2.1.0\n[renewalparams]\naccount = 0123\n")
}

func (w *world) archive(t *testing.T, folder string, number int) {
	t.Helper()
	for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
		w.write(t, fmt.Sprintf("archive/shop/%s%d.pem", part, number), w.read(t, folder+"/"+part+".pem"))
	}
}

// lead has the links lead to a version, as certbot does.
func (w *world) lead(t *testing.T, number int) {
	t.Helper()
	for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
		link := w.path("live/shop/" + part + ".pem")
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.Symlink(fmt.Sprintf("../../archive/shop/%s%d.pem", part, number), link); err != nil {
			t.Fatal(err)
		}
	}
}

// leads returns the version that the links lead to, 0 where they do not agree, and the highest one
// in the archive.
func (w *world) leads() (number, highest int) {
	links := map[int]bool{}
	for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
		target, _ := os.Readlink(w.path("live/shop/" + part + ".pem"))
		n := 0
		_, _ = fmt.Sscanf(strings.TrimPrefix(filepath.Base(target), part), "%d.pem", &n) // 0 where it leads elsewhere
		links[n] = true
		number = n
	}
	if len(links) != 1 {
		number = 0
	}
	for highest < 20 && len(w.bytes(fmt.Sprintf("archive/shop/privkey%d.pem", highest+1))) > 0 {
		highest++
	}
	return number, highest
}

func (w *world) bring(t *testing.T, from, to string) {
	t.Helper()
	for _, part := range []string{"cert", "chain", "fullchain", "privkey"} {
		w.write(t, to+"/"+part+".pem", w.read(t, from+"/"+part+".pem"))
	}
}

// bad has the version in a folder be found bad, wherever it is stored or served.
func (w *world) bad(t *testing.T, folder string) {
	t.Helper()
	w.write(t, "bad", string(w.bytes("bad"))+string(w.leaf(folder+"/cert.pem"))+"\n")
}

func (w *world) isBad(version certmedic.Fingerprint) bool {
	return version != "" && slices.Contains(strings.Fields(string(w.bytes("bad"))), string(version))
}

// judge says what is bad about what is seen.
func (w *world) judge(s *remediate.Sight) {
	if leaf, ok := s.Stored.Leaf(); ok && w.isBad(leaf.SHA256) {
		s.Problems = append(s.Problems, certmedic.NewFinding(certmedic.IncompleteChain, "its issuer is missing"))
	}
	for i := range s.Addresses {
		s.Addresses[i].Dire = s.Addresses[i].Dire || w.isBad(s.Addresses[i].Leaf)
	}
}

func (w *world) place(certmedic.Certificate) (lineage.Place, error) {
	return lineage.Place{
		Lineage: shop, ConfigDir: w.dir, WorkDir: w.path("work"), LogsDir: w.path("logs"),
		Conf: w.path("renewal/shop.conf"), Live: w.path("live/shop"), Archive: w.path("archive/shop"),
	}, nil
}

func (w *world) rollbackWay(certmedic.Certificate) rollback.Way {
	if way := rollback.Way(w.bytes("way")); way != "" {
		return way
	}
	return rollback.WayAuto
}

// candidates are what is kept, and the versions in the archive.
func (w *world) candidates(context.Context, certmedic.Certificate, certmedic.Stored) ([]rollback.Candidate, error) {
	var all []rollback.Candidate
	for _, pattern := range []string{"kept/*/cert.pem", "archive/shop/cert*.pem"} {
		paths, err := filepath.Glob(w.path(pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			c, err := w.candidate(path)
			if err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

func (w *world) candidate(path string) (rollback.Candidate, error) {
	c := rollback.Candidate{Origin: rollback.FromSnapshot}
	if strings.HasPrefix(path, w.path("archive")) {
		c.Origin = rollback.FromArchive
	}
	at := func(part string) string {
		return filepath.Join(filepath.Dir(path), strings.Replace(filepath.Base(path), "cert", part, 1))
	}
	c.Stored = certmedic.Stored{Names: []string{"shop.test"}, Files: certmedic.StoredFiles{
		Cert: path, Chain: at("chain"), Fullchain: at("fullchain"), Privkey: at("privkey"),
	}}
	chain, err := chainOf(c.Stored.Files.Fullchain)
	c.Stored.Chain = chain
	if len(chain) > 0 && w.isBad(chain[0].SHA256) {
		c.Problems = []certmedic.Finding{certmedic.NewFinding(certmedic.IncompleteChain, "its issuer is missing")}
	}
	return c, err
}

// loans keeps loans as files, so that they outlive their process.
type loans struct{ w *world }

func (l loans) Loan(certificate string) (loan rollback.Loan, stands bool, err error) {
	data, err := os.ReadFile(l.w.path("loans/" + certificate))
	if errors.Is(err, fs.ErrNotExist) {
		return loan, false, nil
	}
	return loan, true, errors.Join(err, json.Unmarshal(data, &loan))
}

func (l loans) SaveLoan(loan rollback.Loan) error {
	data, err := json.Marshal(loan)
	return errors.Join(err, os.MkdirAll(l.w.path("loans"), 0o700), atomicfile.Write(l.w.path("loans/"+loan.Certificate), data, 0o600, -1, -1))
}

func (l loans) DropLoan(certificate string) error {
	err := os.Remove(l.w.path("loans/" + certificate))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (w *world) loan(t *testing.T) (rollback.Loan, bool) {
	t.Helper()
	l, stands, err := loans{w}.Loan(shop)
	if err != nil {
		t.Fatal(err)
	}
	return l, stands
}

// bidden returns what comes of a rollback that a rule wants.
func (w *world) bidden(t *testing.T) certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err == nil {
		err = w.wish(j)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.actions(t)[0]
}

func byHand() remediate.Request { return remediate.Request{Kind: certmedic.ActionRollback, By: "root"} }

func TestRollbackByDeploySteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", loadInstalled(), "")
	w.withBad(t)
	bad, old := w.leaf("stored/cert.pem"), w.leaf("old/cert.pem")
	a := w.bidden(t)
	wantOutcome(t, a, certmedic.OutcomeHealed, "served by every bound address")
	if !w.installed(t, "old") || !w.serves(t, "old") || a.Version != old {
		t.Errorf("the older version is not served: %+v", a)
	}
	l, stands := w.loan(t)
	if !stands || l.Version != old || l.Instead != bad || l.Way != rollback.WayDeployPath || l.Count != 1 || l.Pinned || l.Action != a.ID || l.Why != "clients cannot verify it" {
		t.Errorf("the loan is %+v", l)
	}
	if until := time.Until(l.Until); until <= 0 || until > 30*24*time.Hour {
		t.Errorf("its deadline is in %s", until)
	}
	w.wantTidy(t)

	if a := w.act(t, byHand()); a.Outcome.Reason != "loan_stands" {
		t.Errorf("asked for once more: %+v", a.Outcome)
	}
	w.write(t, "bad", "") // however good it looks now
	if a := w.act(t, remediate.Request{By: "root"}); a.Outcome.Reason != "on_loan" {
		t.Errorf("what was left is installed again: %+v", a.Outcome)
	}
}

// TestRollbackWhereNothingIsStored shows that what was kept is served where the source has lost its
// files and what is served is bad, or nothing is served any more.
func TestRollbackWhereNothingIsStored(t *testing.T) {
	t.Parallel()
	for _, served := range []bool{true, false} {
		w := newWorld(t)
		w.withSteps(t, "", loadInstalled(), "")
		w.withBad(t)
		bad := w.leaf("stored/cert.pem")
		if err := os.RemoveAll(w.path("stored")); err != nil {
			t.Fatal(err)
		}
		if !served {
			w.write(t, "loaded/192.0.2.1:443", "")
			bad = ""
		}
		wantOutcome(t, w.bidden(t), certmedic.OutcomeHealed)
		if l, stands := w.loan(t); !stands || l.Instead != bad || !w.serves(t, "old") {
			t.Errorf("the loan is %+v", l)
		}
		w.wantTidy(t)
	}
}

func TestRollbackInALineage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withHooks(t, "printf '%s %s' \"$RENEWED_LINEAGE\" \"$RENEWED_DOMAINS\" >environment\n"+loadStored())
	w.withLineage(t)
	conf, old := w.read(t, "renewal/shop.conf"), w.leaf("old/cert.pem")
	a := w.bidden(t)
	wantOutcome(t, a, certmedic.OutcomeHealed)
	if number, highest := w.leads(); number != 3 || highest != 3 || w.leaf("stored/cert.pem") != old || !w.serves(t, "old") {
		t.Errorf("the links lead to %d of %d, and %s is stored", number, highest, w.leaf("stored/cert.pem").Short())
	}
	if got, want := w.read(t, "environment"), w.path("live/shop")+" shop.test"; got != want {
		t.Errorf("the hook got %q, want %q", got, want)
	}
	if w.read(t, "renewal/shop.conf") != conf {
		t.Error("certbot is kept from renewing after the first rollback")
	}
	if l, stands := w.loan(t); !stands || l.Way != rollback.WayAppend || l.Pinned {
		t.Errorf("the loan is %+v", l)
	}
	w.wantTidy(t)
}

// TestSecondRollbackPins shows that certbot is kept from renewing once a further version came to the
// same, and that this is taken back when something better is served.
func TestSecondRollbackPins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withHooks(t, loadStored())
	w.withLineage(t)
	conf := w.read(t, "renewal/shop.conf")
	wantOutcome(t, w.bidden(t), certmedic.OutcomeHealed)
	w.renew(t, 4)
	w.bad(t, "stored")
	wantOutcome(t, w.bidden(t), certmedic.OutcomeHealed)
	l, _ := w.loan(t)
	if l.Count != 2 || !l.Pinned || !strings.Contains(w.read(t, "renewal/shop.conf"), "autorenew = False") {
		t.Errorf("the loan is %+v, and the configuration\n%s", l, w.read(t, "renewal/shop.conf"))
	}
	w.renew(t, 6)
	w.untilRepaid(t)
	if w.read(t, "renewal/shop.conf") != conf {
		t.Errorf("the configuration is not as it was:\n%s", w.read(t, "renewal/shop.conf"))
	}
	a := w.actions(t)[0]
	wantOutcome(t, a, certmedic.OutcomeHealed, "certbot renews")
	if a.Outcome.Reason != "returned" {
		t.Errorf("the end of the loan is told as %+v", a.Outcome)
	}
	w.wantTidy(t)
}

// renew stores a further good version, as certbot does, and has it served.
func (w *world) renew(t *testing.T, number int) {
	t.Helper()
	ca := mint.Must(mint.Must(mint.NewCA("another")).Intermediate("issuing"))
	w.store(t, "next", mint.Must(ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(time.Duration(number-50) * time.Hour)})))
	w.archive(t, "next", number)
	w.lead(t, number)
	w.write(t, "loaded/192.0.2.1:443", w.read(t, "stored/fullchain.pem"))
}

// untilRepaid says that the loan can end until it has.
func (w *world) untilRepaid(t *testing.T) {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.repay(j); err != nil {
		t.Fatal(err)
	}
}

// repay runs a certmedic that is told that the loan can end, until it has.
func (w *world) repay(j *journal) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r := w.remediator(j, nil)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for ctx.Err() == nil {
		if _, stands, err := (loans{w}).Loan(shop); err != nil || !stands {
			time.Sleep(50 * time.Millisecond) // for what comes after
			cancel()
			return errors.Join(err, <-ended)
		}
		r.Repay(shop)
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the loan still stands after 30 s: %w", ctx.Err())
}

// TestALoanThatIsNotRepaidStands shows what does not end a loan.
func TestALoanThatIsNotRepaidStands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		change func(t *testing.T, w *world)
	}{
		{"what is lent is served", func(*testing.T, *world) {}},
		{"certbot leads the links back to the bad version", func(t *testing.T, w *world) {
			w.lead(t, 2)
			w.write(t, "loaded/192.0.2.1:443", w.read(t, "stored/fullchain.pem"))
			w.write(t, "bad", "")
		}},
		{"a newer version is stored, and not served", func(t *testing.T, w *world) {
			w.renew(t, 4)
			w.write(t, "loaded/192.0.2.1:443", w.read(t, "old/fullchain.pem"))
		}},
		{"a newer version is served, and as bad", func(t *testing.T, w *world) {
			w.renew(t, 4)
			w.bad(t, "stored")
		}},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withHooks(t, loadStored())
			w.withLineage(t)
			wantOutcome(t, w.act(t, byHand()), certmedic.OutcomeHealed)
			tt.change(t, w)
			r, stop := w.running(t, nil)
			looks := w.looked()
			waitFor(t, func() bool { r.Repay(shop); return w.looked() > looks })
			time.Sleep(50 * time.Millisecond)
			stop()
			if _, stands := w.loan(t); !stands {
				t.Error("the loan has ended")
			}
		})
	}
}

// TestRollbackThatIsNotServedIsTakenBack shows that the lineage is as it was, to the byte, where
// a hook fails or loads nothing.
func TestRollbackThatIsNotServedIsTakenBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about, hook string
		way         rollback.Way
	}{
		{"the hook fails", "[ -e second ] || { touch second; exit 3; }\n" + loadStored(), rollback.WayAuto},
		{"the hook loads nothing", "exit 0\n", rollback.WayAuto},
		{"the hook fails, and the links are pinned", "[ -e second ] || { touch second; exit 3; }\n" + loadStored(), rollback.WayPinned},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.withHooks(t, tt.hook)
			w.withLineage(t)
			w.write(t, "way", string(tt.way))
			conf := w.read(t, "renewal/shop.conf")
			a := w.act(t, byHand())
			wantOutcome(t, a, certmedic.OutcomePutBack, "the lineage is as it was", "served as before")
			if number, highest := w.leads(); number != 2 || highest != 2 || w.read(t, "renewal/shop.conf") != conf {
				t.Errorf("the links lead to %d of %d, the configuration is\n%s", number, highest, w.read(t, "renewal/shop.conf"))
			}
			if _, stands := w.loan(t); stands {
				t.Error("a loan stands")
			}
			w.wantTidy(t)
		})
	}
}

// TestRollbackIsRefused shows that where no version is fit, everybody is told why, of each.
func TestRollbackIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withHooks(t, loadStored())
	w.withLineage(t)
	w.bad(t, "old")
	a := w.act(t, remediate.Request{Kind: certmedic.ActionRollback, Force: true})
	wantOutcome(t, a, certmedic.OutcomeRefused, w.leaf("old/cert.pem").Short(), "broken_chain", w.leaf("stored/cert.pem").Short(), "is_the_bad_one")
	if a.Outcome.Reason != "no_candidate" || len(w.log(t)) > 0 {
		t.Errorf("%+v, and %q was run", a.Outcome, w.log(t))
	}
	if number, _ := w.leads(); number != 2 {
		t.Errorf("the links lead to %d", number)
	}

	files := newWorld(t)
	files.withBad(t)
	files.cert.Source.Kind = certmedic.SourceFiles
	if a := files.act(t, byHand()); a.Outcome.Reason != "nothing_to_run" || !strings.Contains(a.Outcome.Detail, "no deploy steps") {
		t.Errorf("files without deploy steps: %+v", a.Outcome)
	}
	files.withSteps(t, "", loadInstalled(), "")
	if a := files.act(t, remediate.Request{Kind: certmedic.ActionRollback, To: "0000"}); a.Outcome.Reason != "no_candidate" || !strings.Contains(a.Outcome.Detail, "not_wanted") {
		t.Errorf("to a version that there is not: %+v", a.Outcome)
	}
	if a := files.act(t, remediate.Request{Kind: certmedic.ActionRollback, To: files.leaf("old/cert.pem")[:8]}); a.Outcome.Kind != certmedic.OutcomeHealed {
		t.Errorf("to one by the beginning of it: %+v", a.Outcome)
	}
}

// TestCAsAreNotAskedAllTheTime shows that while something else stands against a rollback nobody is asked
// about older versions at every turn, and that they are looked at anew before one is installed.
func TestCAsAreNotAskedAllTheTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withSteps(t, "", loadInstalled(), "")
	w.withBad(t)
	var frozen atomic.Bool
	var asked atomic.Int32
	frozen.Store(true)
	r, _ := w.running(t, func(o *remediate.Options) {
		o.Frozen = frozen.Load
		o.Candidates = func(ctx context.Context, c certmedic.Certificate, s certmedic.Stored) ([]rollback.Candidate, error) {
			asked.Add(1)
			return w.candidates(ctx, c, s)
		}
	})
	r.Want(shop, []remediate.Want{{Kind: certmedic.ActionRollback, Rule: "chain-invalid", Version: w.leaf("stored/cert.pem")}})
	for range 3 {
		looks := w.looked()
		r.Nudge(shop)
		waitFor(t, func() bool { return w.looked() > looks })
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("%d questions while it is frozen", n)
	}
	frozen.Store(false)
	r.Nudge(shop)
	waitFor(t, func() bool { return w.serves(t, "old") })
	if n := asked.Load(); n < 2 {
		t.Errorf("%d questions in all: what was installed was not looked at anew", n)
	}
}

// TestKillAtEveryRecordOfARollback kills certmedic at each record of its journal. The one after it
// has to leave either everything as it was, or the older version verified and lent.
func TestKillAtEveryRecordOfARollback(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, 24)
	for kind, records := range map[string]int{"deploy-path": 9, "append-only": 8, "pinned": 8, "second": 10, "return": 4} {
		for n := 1; n <= records; n++ {
			for _, edge := range []string{"before", "after"} {
				telling := edge == "before" && n%2 == len(kind)%2 || edge == "after" && n == 2
				if !telling && os.Getenv("CERTMEDIC_CHAOS") == "" {
					continue
				}
				w, when := newWorld(t), fmt.Sprint(edge, " ", n)
				group.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					w.prepare(t, kind)
					testKillOfRollback(t, w, kind, when)
				})
			}
		}
	}
}

// prepare makes the world that a kind of kill is for.
func (w *world) prepare(t *testing.T, kind string) {
	t.Helper()
	w.write(t, "kind", string(certmedic.ActionRollback))
	if kind == "deploy-path" {
		w.withSteps(t, alone+done, alone+loadInstalled()+done, alone+done)
		w.withBad(t)
		return
	}
	w.withHooks(t, alone+done, alone+loadStored()+done)
	w.withLineage(t)
	if kind == "pinned" {
		w.write(t, "way", kind)
	}
	if kind == "second" || kind == "return" {
		w.write(t, "by", "a rule")
		wantOutcome(t, w.bidden(t), certmedic.OutcomeHealed)
		w.renew(t, 4)
		w.bad(t, "stored")
	}
	if kind == "return" {
		wantOutcome(t, w.bidden(t), certmedic.OutcomeHealed)
		w.renew(t, 6)
		w.write(t, "kind", kind)
	}
}

func testKillOfRollback(t *testing.T, w *world, kind, when string) {
	name := kind + " " + when
	number, highest := w.leads()
	before, had, _ := loans{w}.Loan(shop)
	bad, earlier := w.leaf("stored/cert.pem"), len(w.actions(t))
	cmd := w.start(t, when)
	err := cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("%s: it was to be killed, but %v: %s", name, err, cmd.Stderr)
		return
	}
	if err := w.recover(); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if kind == "return" {
		w.wantReturned(t, name)
		return
	}
	l, stands := w.loan(t)
	lent := stands && (!had || l != before)
	var a certmedic.Action // none where it was killed before the first record
	if all := w.actions(t); len(all) > earlier {
		a = all[0]
	}
	if healed := a.Outcome.Kind == certmedic.OutcomeHealed; healed != lent || healed != w.serves(t, "old") || a.Outcome.Kind == certmedic.OutcomeFailed {
		t.Errorf("%s: outcome %+v, lent is %v, the older version is served is %v", name, a.Outcome, lent, w.serves(t, "old"))
	}
	if !lent && w.leaf("loaded/192.0.2.1:443") != bad {
		t.Errorf("%s: what is served is neither of the two", name)
	}
	switch n, high := w.leads(); {
	case kind == "deploy-path" && !w.installed(t, "old") && !w.installed(t, "stored"):
		t.Errorf("%s: neither all old nor all new", name)
	case !lent && (n != number || high != highest):
		t.Errorf("%s: the links lead to %d of %d, before it was %d of %d", name, n, high, number, highest)
	}
	if kind == "second" || kind == "pinned" {
		if off := strings.Contains(w.read(t, "renewal/shop.conf"), "autorenew = False"); off != lent || lent && !l.Pinned {
			t.Errorf("%s: certbot is kept from renewing is %v, the loan is %+v", name, off, l)
		}
	}
	if again := w.act(t, byHand()); again.Outcome.Kind != certmedic.OutcomeHealed && again.Outcome.Reason != "loan_stands" || !w.serves(t, "old") {
		t.Errorf("%s: it could not be rolled back afterwards: %+v", name, again.Outcome)
	}
	if log := w.log(t); slices.Contains(log, "overlap") {
		t.Errorf("%s: a command ran beside another one: %q", name, log)
	}
}

// wantReturned checks that a loan that was being ended ends, and that certbot renews again then.
func (w *world) wantReturned(t *testing.T, name string) {
	t.Helper()
	j, err := w.journal()
	if err == nil {
		err = w.repay(j)
	}
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if _, stands := w.loan(t); stands || strings.Contains(w.read(t, "renewal/shop.conf"), "autorenew") {
		t.Errorf("%s: the loan stands, or the pin was forgotten:\n%s", name, w.read(t, "renewal/shop.conf"))
	}
	w.wantTidy(t)
}

// chainOf returns the facts of the certificates in a file, leaf first.
func chainOf(path string) ([]certmedic.CertFacts, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var chain []certmedic.CertFacts
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, certmedic.CertFacts{
			SHA256: certmedic.Fingerprint(fmt.Sprintf("%x", sha256.Sum256(block.Bytes))), NotBefore: c.NotBefore, NotAfter: c.NotAfter, DNSNames: c.DNSNames,
		})
	}
	return chain, nil
}

// wish has a rule want a rollback until one has ended.
func (w *world) wish(j *journal) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	before, err := j.Actions("", time.Time{})
	if err != nil {
		return err
	}
	r := w.remediator(j, nil)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.Want(shop, []remediate.Want{{Kind: certmedic.ActionRollback, Rule: "chain-invalid", Why: "clients cannot verify it", Version: w.leaf("stored/cert.pem")}})
	for ctx.Err() == nil {
		all, err := j.Actions("", time.Time{})
		if err != nil || len(all) > len(before) && all[0].Outcome.Kind != certmedic.OutcomeRunning {
			time.Sleep(50 * time.Millisecond) // for what comes after the last record
			cancel()
			return errors.Join(err, <-ended)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("nothing came of it in 30 s: %w", ctx.Err())
}
