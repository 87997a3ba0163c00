package app

import (
	"crypto/x509"
	"errors"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/roots"
)

// JudgeIssued says why a version that was just issued must not be stored: what is critical about its
// chain, as the watchdog would find once it is there. It is the [native.Judge] of certmedic's steps.
func JudgeIssued(names []string, name string, chain []*x509.Certificate, now time.Time) error {
	sets, err := roots.Load(names)
	if err != nil {
		return err
	}
	name = strings.Replace(name, "*", "wildcard", 1)
	for _, f := range inspect.Chain(chain, inspect.Options{Now: now, ServerName: name, Roots: sets}).Findings {
		if f.Severity == certmedic.SeverityCritical {
			return errors.New(string(f.Code) + ": " + f.Detail)
		}
	}
	return nil
}
