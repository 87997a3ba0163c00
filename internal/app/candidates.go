package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/revocation"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// What finding candidates is bounded by.
const (
	maxCandidates = 10               // versions, the newest
	assessFor     = 15 * time.Second // for all of them, with whoever has to be asked
	maxRevoked    = 4                // paths of a chain that are looked up, as a probe does
)

// candidate is a version to roll back to, with its certificates.
type candidate struct {
	rollback.Candidate
	certs []*x509.Certificate
}

// candidates lists the older versions of a certificate, kept ones and those in certbot's
// archive, with everything that is known for or against each. Authorities are asked about
// those that nothing else speaks against.
func (a *App) candidates(ctx context.Context, g *generation, c certmedic.Certificate, stored certmedic.Stored) ([]rollback.Candidate, error) {
	inTime, cancel := context.WithTimeout(ctx, assessFor)
	defer cancel()
	now := time.Now()
	all := newestCandidates(append(a.keptCandidates(g, c, now), a.archivedCandidates(g, c, now)...))
	var group sync.WaitGroup
	for _, same := range ofOneVersion(all, now) {
		group.Go(func() { a.ask(inTime, g, c.Name, stored.Directory, same) })
	}
	group.Wait()
	found := make([]rollback.Candidate, len(all))
	for i := range all {
		found[i] = all[i].Candidate
	}
	return found, ctx.Err()
}

// newestCandidates returns those of the newest versions, and each version once from where it is
// kept, unless it cannot be read.
func newestCandidates(all []candidate) []candidate {
	slices.SortStableFunc(all, func(x, y candidate) int {
		leafX, _ := x.Leaf()
		leafY, _ := y.Leaf()
		return leafY.NotBefore.Compare(leafX.NotBefore)
	})
	versions := map[certmedic.Fingerprint]bool{}
	seen := map[rollback.Origin]map[certmedic.Fingerprint]bool{rollback.FromSnapshot: {}, rollback.FromArchive: {}}
	return slices.DeleteFunc(all, func(c candidate) bool {
		leaf, _ := c.Leaf()
		if !versions[leaf.SHA256] && len(versions) == maxCandidates || seen[c.Origin][leaf.SHA256] {
			return true
		}
		versions[leaf.SHA256] = true
		seen[c.Origin][leaf.SHA256] = c.Broken == ""
		return false
	})
}

// ofOneVersion gathers the candidates that nothing speaks against so far, by their version.
func ofOneVersion(all []candidate, now time.Time) map[certmedic.Fingerprint][]*candidate {
	groups := map[certmedic.Fingerprint][]*candidate{}
	for i := range all {
		to := &all[i]
		leaf, ok := to.Leaf()
		if ok && to.Broken == "" && !to.Denied && len(to.Problems) == 0 && now.Before(leaf.NotAfter) {
			groups[leaf.SHA256] = append(groups[leaf.SHA256], to)
		}
	}
	return groups
}

// keptCandidates are the kept versions.
func (a *App) keptCandidates(g *generation, c certmedic.Certificate, now time.Time) []candidate {
	kept, err := a.snapshots.List(c.Name)
	if err != nil {
		return []candidate{broken(rollback.FromSnapshot, nil, err.Error())}
	}
	all := make([]candidate, 0, len(kept))
	for _, s := range kept {
		if s.Broken != "" {
			all = append(all, broken(rollback.FromSnapshot, s.Chain, s.Broken))
			continue
		}
		stored, err := a.snapshots.Open(c.Name, s.Version)
		switch {
		case errors.Is(err, snapshot.ErrDenied):
			denied := broken(rollback.FromSnapshot, s.Chain, "")
			denied.Denied = true
			all = append(all, denied)
		case err != nil:
			all = append(all, broken(rollback.FromSnapshot, s.Chain, err.Error()))
		default:
			files := certmedic.Source{Kind: certmedic.SourceFiles, Cert: stored.Files.Fullchain, Key: stored.Files.Privkey}
			all = append(all, a.judged(g, c, rollback.FromSnapshot, stored, disk.Reader{}.Read(files, now)))
		}
	}
	return all
}

// archivedCandidates are the versions in a lineage's archive.
func (a *App) archivedCandidates(g *generation, c certmedic.Certificate, now time.Time) []candidate {
	if c.Source.Kind != certmedic.SourceCertbot {
		return nil
	}
	versions, err := disk.Archive(c.Source)
	if err != nil {
		return []candidate{broken(rollback.FromArchive, nil, err.Error())}
	}
	all := make([]candidate, 0, len(versions))
	for _, v := range versions {
		content := disk.Reader{}.Read(v.Source, now)
		stored := content.Stored
		stored.Version = strconv.Itoa(v.Number)
		if len(v.Missing) > 0 {
			all = append(all, broken(rollback.FromArchive, stored.Chain, fmt.Sprintf("version %d lacks its %s", v.Number, strings.Join(v.Missing, " and its "))))
			continue
		}
		all = append(all, a.judged(g, c, rollback.FromArchive, stored, content))
	}
	return all
}

func broken(from rollback.Origin, chain []certmedic.CertFacts, why string) candidate {
	return candidate{Candidate: rollback.Candidate{Origin: from, Stored: certmedic.Stored{Chain: chain}, Broken: why}}
}

// judged judges a version as one of the source.
func (a *App) judged(g *generation, c certmedic.Certificate, from rollback.Origin, stored certmedic.Stored, content disk.Content) candidate {
	leaf, ok := content.Stored.Leaf()
	if expected, _ := stored.Leaf(); !ok || leaf.SHA256 != expected.SHA256 {
		return broken(from, stored.Chain, "it cannot be read: "+details(content.Stored.Findings))
	}
	now := content.Stored.Time
	found := candidate{certs: content.Certs, Candidate: rollback.Candidate{
		Origin: from, Stored: stored, Problems: g.watchdog.Problems(c, content, now), Denied: a.denied.Denied(leaf.SPKISHA256),
		ChainEnds: inspect.Chain(content.Certs, inspect.Options{Now: now, Roots: g.senses.Roots}).ChainNotAfter,
	}}
	if !content.KeyMatches && !certmedic.HasFinding(found.Problems, certmedic.KeyMismatch) {
		found.Problems = append(found.Problems, certmedic.NewFinding(certmedic.KeyMismatch, "its key cannot be read: "+details(content.Stored.Findings)))
	}
	return found
}

func details(findings []certmedic.Finding) string {
	all := make([]string, 0, len(findings))
	for _, f := range findings {
		all = append(all, f.Detail)
	}
	return cmp.Or(strings.Join(all, "; "), "it has changed meanwhile")
}

// ask finds out whether a version was revoked, and whether its CA wants it gone.
func (a *App) ask(ctx context.Context, g *generation, certificate, directory string, same []*candidate) {
	now, certs := time.Now(), same[0].certs
	var problems []certmedic.Finding
	unknown, recalled := "", ""
	paths := inspect.Chain(certs, inspect.Options{Now: now, Roots: g.senses.Roots}).Chains
	for _, f := range revoked(ctx, g.senses.Revoked, paths, now) {
		switch f.Code {
		case certmedic.Revoked:
			problems = append(problems, f)
		case certmedic.RevocationUnknown:
			unknown = f.Detail
		}
	}
	if len(problems) == 0 && directory != "" && g.config.Probe.ARI {
		recalled = a.recalled(ctx, g, certificate, directory, certs[0])
	}
	for _, to := range same {
		to.Problems, to.Unknown, to.Recalled = problems, unknown, recalled
	}
}

// revoked looks the certificates of a chain up. Where one above the leaf was revoked, clients
// take another path.
func revoked(ctx context.Context, check func(context.Context, revocation.Query) revocation.Result, paths [][]*x509.Certificate, now time.Time) []certmedic.Finding {
	var first []certmedic.Finding
	for i, path := range paths[:min(len(paths), maxRevoked)] {
		findings := check(ctx, revocation.Query{Path: path, Now: now}).Findings
		if !certmedic.HasFinding(findings, certmedic.Revoked) {
			return findings
		}
		if i == 0 {
			first = findings
		}
	}
	return first
}

// place returns where a lineage is kept, as its renewal configuration says. The error says that
// it is none, or that others may write what says so.
func place(c certmedic.Certificate) (lineage.Place, error) {
	src := c.Source
	if src.Kind != certmedic.SourceCertbot {
		return lineage.Place{}, fmt.Errorf("the source of %q is no lineage of certbot's", c.Name)
	}
	path := filepath.Join(src.ConfigDir, "renewal", src.Lineage+".conf")
	for _, file := range []string{path, filepath.Join(src.ConfigDir, "cli.ini")} {
		if err := ownership.Check(file); err != nil && (file == path || !errors.Is(err, fs.ErrNotExist)) {
			return lineage.Place{}, fmt.Errorf("checking who may configure the lineage: %w", err)
		}
	}
	conf, err := disk.ReadRenewalConf(path)
	if err != nil {
		return lineage.Place{}, err
	}
	live := filepath.Dir(conf.Cert)
	for _, link := range []string{conf.Cert, conf.Privkey, conf.Chain, conf.Fullchain} {
		if !filepath.IsAbs(link) || filepath.Dir(link) != live {
			return lineage.Place{}, fmt.Errorf("reading %q: its four links are not in one folder", path)
		}
	}
	return lineage.Place{
		Lineage: src.Lineage, ConfigDir: src.ConfigDir, WorkDir: conf.WorkDir, LogsDir: conf.LogsDir, Conf: path, Live: live,
		Archive: cmp.Or(conf.ArchiveDir, filepath.Join(src.ConfigDir, "archive", src.Lineage)),
	}, nil
}
