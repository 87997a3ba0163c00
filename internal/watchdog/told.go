package watchdog

import (
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// Event returns what people may be told of the news: incidents when a rung of their ladder says so
// and when they end, and good news. It reports false where there is nothing to tell.
func (n News) Event() (e alerting.Event, told bool) {
	e = alerting.Event{Time: n.Time, Certificate: n.Facts(), Severity: certmedic.SeverityInfo}
	switch n.Kind {
	case NewsRenewed:
		e.Kind = alerting.KindRenewed
		e.Incident.Summary = "a new version of " + n.Certificate.Name + " is stored"
	case NewsDeployed:
		e.Kind = alerting.KindDeployed
		e.Incident.Summary = "the newest version of " + n.Certificate.Name + " is served everywhere"
	case NewsRolledBack:
		e.Kind = alerting.KindRolledBack
		e.Incident.Summary = "an earlier version of " + n.Certificate.Name + " is served again"
	default:
		e.Kind, told = alerting.KindOf(n.Transition)
		e.Incident, e.Step = n.Transition.Incident, n.Transition.Step
		e.Severity = e.Incident.Severity
		if n.Transition.Kind == certmedic.TransitionChanged {
			e.Step = e.Incident.Told
		}
		return e, told
	}
	return e, true
}

// Facts returns what people are told about the certificate of the news.
func (n News) Facts() alerting.Facts {
	f := factsOf(n.Certificate.Name, n.Certificate.Labels, n.Leaf)
	f.Stage = n.Stage
	if len(n.Names) > 0 {
		f.Domains = n.Names
	}
	return f
}

// Facts returns what people are told about a certificate as it is now.
func (v View) Facts() alerting.Facts {
	f := factsOf(v.Name, v.Labels, v.Leaf)
	f.Stage = v.Stage
	return f
}

func factsOf(name string, labels map[string]string, leaf certmedic.CertFacts) alerting.Facts {
	return alerting.Facts{
		Name: name, Labels: labels, Domains: slices.Concat(leaf.DNSNames, leaf.IPAddresses),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Issuer: leaf.Issuer, Serial: leaf.Serial, SHA256: leaf.SHA256,
	}
}
