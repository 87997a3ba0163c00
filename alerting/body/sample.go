package body

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// Sample returns a notification with one event of every kind that receivers are told about, with
// every field filled: what templates are tried with before they are needed.
func Sample() alerting.Notification {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	facts := alerting.Facts{
		Name: "shop", Labels: map[string]string{"team": "payments"}, Domains: []string{"shop.example.com", "www.shop.example.com"},
		NotBefore: at.AddDate(0, 0, -89), NotAfter: at.AddDate(0, 0, 1), Issuer: "CN=R11,O=Let's Encrypt,C=US", Serial: "03a1b2",
		SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", Stage: certmedic.StageStored,
	}
	in := certmedic.Incident{
		ID: "i1", Rule: "renewed-not-served", Subject: certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: "shop"},
		Severity: certmedic.SeverityCritical, State: certmedic.StateFiring, Summary: "shop was renewed, but the old certificate is served",
		Reason: "drift = true", Runbook: "renewed-not-served", Members: []string{"192.0.2.1:443", "[2001:db8::1]:443"},
		Evidence: []certmedic.Evidence{{Source: "deploy hook 10-nginx", Line: `exit 1: "nginx" is busy`, Output: true}},
		Episode:  "e1", DedupKey: "certmedic/shop/e1", PendingAt: at, FiringAt: at, NextStep: "redeploy at 12:05",
		Cause: certmedic.CauseHookFailed, CauseSummary: "The deploy hook 10-nginx failed with exit code 1.",
		Fix: "# mend the hook, then run it again\ncertmedic redeploy shop",
	}
	ack := &alerting.Ack{By: "ann", Via: "ops", At: at}
	n := alerting.Notification{Receiver: "ops", Conversation: in.DedupKey, Status: alerting.StatusFiring, Ack: ack}
	for _, kind := range alerting.Kinds() {
		e := alerting.Event{
			Kind: kind, Time: at, Severity: in.Severity, Incident: in, Certificate: facts, Drill: true, Undelivered: "chat rejected it: channel_not_found",
		}
		if kind.News() || kind == alerting.KindHeartbeat {
			e.Severity, e.Incident = certmedic.SeverityInfo, certmedic.Incident{Summary: in.Summary, DedupKey: in.DedupKey}
		}
		if kind == alerting.KindHeartbeat {
			e.Certificate = alerting.Facts{}
		}
		n.Events = append(n.Events, e)
	}
	n.Open = n.Events[:1]
	return n
}
