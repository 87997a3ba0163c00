package scenario

import (
	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// notification is something that people would be told.
type notification struct {
	kind     alerting.Kind
	incident certmedic.Incident // of events only its subject
}

func (n notification) event() bool {
	return n.kind.News()
}

// notifications returns what would be told of what happened.
func notifications(log []happening) []notification {
	var all []notification
	for _, h := range log {
		if h.event != "" {
			about := certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: h.certificate}
			all = append(all, notification{h.event, certmedic.Incident{Subject: about, Severity: certmedic.SeverityInfo}})
		} else if kind, told := alerting.KindOf(h.transition); h.judged() && told {
			all = append(all, notification{kind, h.transition.Incident})
		}
	}
	return all
}
