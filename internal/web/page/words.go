package page

import (
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// moment is a point in time as people read it, with what it is exactly.
type moment struct {
	Said  string // "in 12 d", "3 min ago"
	Exact string // UTC
	ISO   string
}

func at(t, now time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	u := t.UTC()
	return moment{Said: relative(t, now), Exact: u.Format("2006-01-02 15:04:05 UTC"), ISO: u.Format(time.RFC3339)}
}

func relative(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d.Abs() < time.Second:
		return "now"
	case d > 0:
		return "in " + span(d)
	default:
		return span(-d) + " ago"
	}
}

// span renders a duration the way a person would say it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 72*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// headline says in one sentence how everything is.
func headline(views []watchdog.View) string {
	bad, deploying := 0, 0
	for _, v := range views {
		if v.Status != certmedic.StatusOK {
			bad++
		}
		if v.Stage == certmedic.StageDeploying {
			deploying++
		}
	}
	said := ""
	switch {
	case len(views) == 0:
		return "Nothing is watched yet"
	case bad == 0 && len(views) == 1:
		said = "The certificate is fine"
	case bad == 0:
		said = fmt.Sprintf("All %d certificates are fine", len(views))
	case bad == 1:
		said = fmt.Sprintf("1 of %d needs attention", len(views))
	default:
		said = fmt.Sprintf("%d of %d need attention", bad, len(views))
	}
	if deploying > 0 {
		said += fmt.Sprintf(", %d being deployed", deploying)
	}
	return said
}

// Two more ways to show something, beside the statuses: they are no verdicts.
const (
	busy    certmedic.Status = "busy" // under way
	neutral certmedic.Status = "info"
)

// look returns the status to show: a deployment under way is neither fine nor wrong.
func look(v watchdog.View) certmedic.Status {
	if v.Status == certmedic.StatusOK && v.Stage == certmedic.StageDeploying {
		return busy
	}
	return v.Status
}

func statusWord(v watchdog.View) string {
	switch {
	case v.Status == certmedic.StatusOK && v.Stage == certmedic.StageDeploying:
		return "deploying"
	case v.Status == certmedic.StatusOK:
		return "fine"
	case v.Status == certmedic.StatusUnknown:
		return "could not tell"
	}
	return string(v.Status)
}

// whereItIs says what a certificate's stage means.
func whereItIs(v watchdog.View) string {
	probed := false
	for _, e := range v.Endpoints {
		probed = probed || !e.Time.IsZero()
	}
	switch {
	case v.Watched || v.Source == certmedic.SourceNone:
		return ""
	case v.Stage == certmedic.StageDeploying:
		return "A deployment is under way: certbot or one of its hooks holds the locks of the source." + holder(v.Lock)
	case v.Stage == certmedic.StageUnknown:
		return "The source holds no version that can be read."
	case len(v.Endpoints) == 0:
		return "No endpoint is configured, so nothing can be said about what is served."
	case !probed:
		return "No endpoint was looked at yet."
	case v.Stage == certmedic.StageServed:
		return "" // the picture says it
	case v.Drift == nil:
		return "The newest version is not seen everywhere yet."
	}
	return stopped(v)
}

func holder(l certmedic.Lock) string {
	if l.PID == 0 {
		return ""
	}
	return fmt.Sprintf(" Process %d holds %s.", l.PID, l.Path)
}

// stopped says what it means that the newest version stopped after its stage.
func stopped(v watchdog.View) string {
	switch v.Stage {
	case certmedic.StageIssued:
		return "Stopped after issued: the new version did not reach its source."
	case certmedic.StageStored:
		return "Stopped after stored: the new version is stored, but not served. Its deployment failed, was skipped, or never ran."
	case certmedic.StageDeployed:
		return "Stopped after deployed: the new files are in place, but the service still has the old ones. It was not reloaded."
	case certmedic.StageLoaded:
		return "Stopped after loaded: some addresses serve the new version, others still serve another one."
	}
	return ""
}

// outcome says how an action ended.
func outcome(o certmedic.Outcome) (certmedic.Status, string) {
	switch o.Kind {
	case certmedic.OutcomeHealed:
		return certmedic.StatusOK, "healed"
	case certmedic.OutcomeRehearsed:
		return certmedic.StatusOK, "rehearsed"
	case certmedic.OutcomeUnverified:
		return certmedic.StatusWarning, "acted, unverified"
	case certmedic.OutcomeFailed:
		return certmedic.StatusCritical, "failed"
	case certmedic.OutcomePutBack:
		return certmedic.StatusWarning, "put back"
	case certmedic.OutcomeRefused:
		return neutral, "refused"
	case certmedic.OutcomePlanned:
		return neutral, "planned"
	case certmedic.OutcomeRunning:
		return busy, "running"
	}
	return certmedic.StatusUnknown, string(o.Kind)
}

// meaning explains a finding's code to somebody who does not know it.
func meaning(code certmedic.FindingCode) string {
	if text, ok := meanings[code]; ok {
		return text
	}
	return ""
}

var meanings = map[certmedic.FindingCode]string{
	certmedic.Expired:            "its validity is over, clients refuse it",
	certmedic.NotYetValid:        "its validity has not begun, clients refuse it",
	certmedic.NameMismatch:       "it does not cover the name that clients ask for",
	certmedic.SelfSigned:         "nobody vouches for it but itself",
	certmedic.Untrusted:          "its chain ends at a root that is not trusted",
	certmedic.IncompleteChain:    "an intermediate is missing: many clients cannot find a path to a root",
	certmedic.WrongUsage:         "it was not issued for servers",
	certmedic.NameConstraint:     "an authority of its chain may not vouch for this name",
	certmedic.Revoked:            "its authority withdrew it",
	certmedic.KeyMismatch:        "the private key belongs to another certificate",
	certmedic.PinMismatch:        "its key is none of those that are pinned",
	certmedic.DANEMismatch:       "it is not what DNS announces",
	certmedic.MustStapleMissing:  "it demands a stapled OCSP answer, and none is given",
	certmedic.NotACertificate:    "what is there is no certificate",
	certmedic.Expiring:           "little of its lifetime is left",
	certmedic.RenewalOverdue:     "it should have been renewed by now",
	certmedic.ChainOrder:         "the chain is presented in the wrong order",
	certmedic.ChainExtra:         "the chain has certificates that no path uses",
	certmedic.ChainExpiring:      "another certificate of its chain ends before it",
	certmedic.WeakKey:            "its key is too short",
	certmedic.WeakSignature:      "it is signed with a hash that is no longer safe",
	certmedic.Drift:              "another version is served than the one that is stored",
	certmedic.SplitServing:       "the addresses of one endpoint serve different versions",
	certmedic.HTTPStatus:         "the answer is not the one that was expected",
	certmedic.CAAForbids:         "DNS forbids its authority to issue for this name",
	certmedic.FilePermissions:    "others may read or write what they should not",
	certmedic.LineageBroken:      "certbot's files do not fit together",
	certmedic.NoSCT:              "it brings no proof that it was logged",
	certmedic.RevocationUnknown:  "whether it was revoked could not be asked",
	certmedic.ClientCertRequired: "the server asks clients for a certificate",
	certmedic.Unreachable:        "nobody answered",
	certmedic.DNSFailed:          "the name did not resolve",
	certmedic.Timeout:            "no answer came in time",
	certmedic.StartTLSFailed:     "the server did not switch to TLS",
	certmedic.HandshakeFailed:    "no TLS connection came about",
	certmedic.FileMissing:        "a file is not there",
	certmedic.FileUnreadable:     "a file cannot be read",
}
