package watchdog

import (
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/inspect"
)

// watchedFile is a file that is only watched, whose findings are those of a check of it. Time alone changes
// them, so that it is judged again and again without being read.
type watchedFile struct {
	disk.Content
	until time.Time // up to when the findings stay the same
}

// rejudgeEvery is how often a watched file is judged whose findings tell how much time is left.
const rejudgeEvery = time.Minute

// rejudgeLocked brings the findings of a watched file up to date: all but those that are for
// information only. They are fine until the file is read again, or until time changes them.
func (w *Watchdog) rejudgeLocked(e *entry, now time.Time) {
	if e.kept == nil || now.Before(e.kept.until) {
		return
	}
	o := inspect.Options{Now: now, Purpose: e.kept.Purpose, Warn: w.o.Warn, Crit: w.o.Crit}
	if e.kept.Purpose == inspect.PurposeServer {
		o.Roots = w.o.Roots
	}
	judged := inspect.Chain(e.kept.Certs, o)
	e.problems = slices.DeleteFunc(judged.Findings, func(f certmedic.Finding) bool {
		lacking := f.Code == certmedic.IncompleteChain && e.kept.MayLackChain()
		return lacking || f.Severity == certmedic.SeverityInfo
	})
	e.kept.until = judged.Until
	if judged.Until.IsZero() {
		e.kept.until = now.Add(rejudgeEvery)
	}
}

// storedAt is where the stored version is: its file, and which of several in it is meant.
func (e *entry) storedAt() string {
	if e.kept == nil || e.kept.Which == "" {
		return e.stored.Path
	}
	return e.stored.Path + "#" + e.kept.Which
}

// apart tells what is wrong with a watched file from what is wrong with the certificate in
// it, so that no cause has two incidents.
func (e *entry) apart() (ofFile, ofCertificate []certmedic.Finding) {
	for _, f := range e.stored.Findings {
		if f.Code == certmedic.NotACertificate {
			ofCertificate = append(ofCertificate, f)
		} else {
			ofFile = append(ofFile, f)
		}
	}
	return ofFile, append(ofCertificate, e.problems...)
}
