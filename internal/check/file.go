package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
)

// Stored is a stored version that endpoints are compared with.
type Stored struct {
	Path    string                `json:"path"`    // the file that holds the leaf
	Version string                `json:"version"` // certbot's number, or the leaf's short fingerprint
	Chain   []certmedic.CertFacts `json:"chain"`   // leaf first, never empty

	findings []certmedic.Finding
}

// ReadStored reads the certificate to compare with: a file or the folder of a lineage. A
// path that leads to no certificate, or to more than one, is an error.
func ReadStored(reader disk.Reader, path string) (*Stored, error) {
	items, err := reader.ReadPath(path, now())
	if err != nil {
		return nil, err
	}
	if len(items) > 1 {
		return nil, fmt.Errorf("%q holds %d certificates; name one of them, such as %q", path, len(items), items[0].Target)
	}
	s := items[0].Stored
	if len(s.Chain) == 0 {
		return nil, fmt.Errorf("%q holds no certificate: %s", path, reasonOf(s.Findings))
	}
	return &Stored{Path: s.Path, Version: s.Version, Chain: s.Chain, findings: certain(s.Findings)}, nil
}

// certain leaves out what could not be seen: the key of a stored version need not be
// readable to compare with its certificate.
func certain(findings []certmedic.Finding) []certmedic.Finding {
	var kept []certmedic.Finding
	for _, f := range findings {
		if f.Severity != certmedic.SeverityUnknown {
			kept = append(kept, f)
		}
	}
	return kept
}

func reasonOf(findings []certmedic.Finding) string {
	if len(findings) == 0 {
		return "nothing is stored"
	}
	return findings[0].Detail
}

func (c *Checker) checkPath(ctx context.Context, path string) []Result {
	items, err := c.Reader.ReadPath(path, c.at())
	if err != nil {
		code := certmedic.FileUnreadable
		if errors.Is(err, fs.ErrNotExist) {
			code = certmedic.FileMissing
		}
		r := undecided(path, code, err.Error())
		r.Addresses[0].Protocol, r.Addresses[0].ServerName = protocolFile, c.Name
		return []Result{r}
	}
	results := make([]Result, 0, len(items))
	for i := range items {
		target := items[i].Target
		if len(items) == 1 {
			target = path
		}
		results = append(results, newResult(target, c.describe(ctx, &items[i])))
	}
	return results
}

// protocolFile stands where an endpoint has its protocol.
const protocolFile = "file"

// describe says of a file what a probe says of an address.
func (c *Checker) describe(ctx context.Context, item *disk.Item) certmedic.AddressObservation {
	stored := item.Stored
	a := c.judge(ctx, item)
	a.Address, a.Protocol, a.Stage = stored.Path, protocolFile, certmedic.ProbeDone
	if a.Address == "" {
		a.Address = item.Target
	}
	a.Findings = append(append([]certmedic.Finding{}, stored.Findings...), a.Findings...)
	if len(a.Chain) == 0 {
		a.Stage, a.Error = certmedic.ProbeResolve, unseen(stored.Findings)
	}
	return a
}

// judge says of a file's certificate what its purpose asks for.
func (c *Checker) judge(ctx context.Context, item *disk.Item) certmedic.AddressObservation {
	named := item.Purpose == inspect.PurposeAuthority && c.Name != ""
	if item.Purpose == inspect.PurposeServer || len(item.Certs) == 0 || named {
		a := c.Inspect(ctx, c.Name, item.Certs)
		if item.MayLackChain() {
			a.Findings = slices.DeleteFunc(a.Findings, func(f certmedic.Finding) bool { return f.Code == certmedic.IncompleteChain })
		}
		return a
	}
	o := inspect.Options{Now: c.at(), Purpose: item.Purpose, Warn: c.Warn, Crit: c.Crit}
	if c.OwnRoots {
		o.Roots = c.Roots
	}
	judged := inspect.Chain(item.Certs, o)
	for i := range judged.Findings {
		if item.Which != "" {
			judged.Findings[i].Detail = fmt.Sprintf("%q: %s", item.Which, judged.Findings[i].Detail)
		}
	}
	return certmedic.AddressObservation{
		ServerName: c.Name, Chain: item.Stored.Chain, Findings: judged.Findings, ChainNotAfter: judged.ChainNotAfter,
	}
}

// unseen returns the first finding that says why nothing could be read, nil where
// something was read that is wrong.
func unseen(findings []certmedic.Finding) *certmedic.ProbeError {
	for _, f := range findings {
		if f.Severity == certmedic.SeverityUnknown {
			return &certmedic.ProbeError{Reason: f.Code, Detail: f.Detail}
		}
	}
	return nil
}
