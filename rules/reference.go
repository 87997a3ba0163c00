package rules

import (
	"maps"
	"slices"

	"github.com/certmedic/certmedic"
)

// VariableDoc describes one variable that conditions in CEL may use.
type VariableDoc struct {
	Name    string                  `json:"name"` // such as "certificate.drift"
	Type    string                  `json:"type"` // in CEL, such as "bool" or "list(string)"
	About   []certmedic.SubjectKind `json:"about"`
	Meaning string                  `json:"meaning"`
}

// ConditionDoc describes one named condition.
type ConditionDoc struct {
	Name     string                  `json:"name"`
	Argument string                  `json:"argument,omitempty"` // what it takes; empty: nothing
	About    []certmedic.SubjectKind `json:"about"`
	Meaning  string                  `json:"meaning"`
	Example  string                  `json:"example"` // the value, or the entry, of `condition`
	Means    string                  `json:"means"`   // the CEL of the example, in a rule about the first kind of About
}

// Variables describes every variable, in the order of what they belong to. About lists the
// kinds of subjects whose rules may use it.
func Variables() []VariableDoc {
	said := meanings()
	var all []VariableDoc
	for _, v := range variables() {
		doc := VariableDoc{Name: v.name, Type: v.typ.String(), Meaning: said[v.name]}
		for _, kind := range subjectKinds() {
			if v.about == kind || slices.Contains(above(kind), v.about) {
				doc.About = append(doc.About, kind)
			}
		}
		all = append(all, doc)
	}
	return all
}

// Conditions describes every named condition.
func Conditions() []ConditionDoc {
	var all []ConditionDoc
	for _, c := range conditions() {
		all = append(all, ConditionDoc{
			Name: c.name, Argument: string(c.takes), About: c.about(), Meaning: c.meaning,
			Example: c.example, Means: c.exampleCEL(),
		})
	}
	return all
}

// exampleCEL returns what the condition's example stands for.
func (c *named) exampleCEL() string {
	l := newLoader("example", 0)
	body, err := l.parse([]byte("condition: {" + c.example + "}"))
	if c.takes == plain {
		body, err = l.parse([]byte("condition: " + c.example))
	}
	if err != nil {
		return ""
	}
	return l.expand(l.mapping(body, "the example", "condition")["condition"], c.about()[0])
}

// meanings says of each variable what it is, in a line.
func meanings() map[string]string {
	all := map[string]string{
		"certificate.name":              "certmedic's own name for it",
		"certificate.labels":            "its labels; one that is not there is an error, unless `\"x\" in certificate.labels` is asked first",
		"certificate.watched":           "it is only watched: there is nothing that certmedic could mend",
		"certificate.stage":             "the last stage that the newest version reached: issued, stored, deployed, loaded, served; or deploying",
		"certificate.drift":             "an address serves another version than the newest stored one",
		"certificate.drift_age":         "since the drift was first seen",
		"certificate.served_newer":      "what drifts was issued after the stored version",
		"certificate.split":             "its addresses serve different versions",
		"certificate.stored_version":    "SHA-256 of the stored leaf; empty where nothing is stored",
		"certificate.served_versions":   "SHA-256 of each leaf that is served",
		"certificate.names":             "its DNS names",
		"certificate.issuer":            "its issuer's name, such as CN=R11,O=Let's Encrypt,C=US",
		"certificate.key_type":          "rsa2048, ec256, ed25519 and so on",
		"certificate.spki_sha256":       "SHA-256 of its public key (SubjectPublicKeyInfo)",
		"certificate.expired":           "something that is served has expired",
		"certificate.lifetime":          "how long the served version that ends first was issued for",
		"certificate.remaining_ratio":   "the least share of life that is left of anything served, 0.0 to 1.0",
		"certificate.served_expires_in": "until the first version that is served ends; negative once it has",
		"certificate.stored_expires_in": "until the stored version ends",
		"certificate.served_ok":         "nothing is served with a critical finding",
		"certificate.stored_ok":         "the stored version has no critical finding",
		"certificate.findings":          "codes of all that is wrong with what is served",
		"certificate.stored_findings":   "codes of all that is wrong with the source and the version in it",
		"certificate.tls_versions":      "the versions of TLS that its addresses chose, such as TLS 1.2",
		"certificate.members":           "its endpoints",
		"certificate.renewal_overdue":   "its renewal is overdue: after the end of the CA's window, else later in its life than its predecessors were renewed, else late by its lifetime",
		"certificate.renewal_due_in":    "until its renewal counts as overdue",
		"certificate.renewal_basis":     "what that follows from: ari, learnt or share",
		"certificate.renewal_age":       "how old its predecessors were when they were replaced (median)",
		"certificate.ari_starts_in":     "until the CA's suggested window for its renewal begins (RFC 9773)",
		"certificate.ari_ends_in":       "until that window ends",
		"certificate.renew_in":          "until certmedic itself has it renewed, or issued for the first time; only of sources that nothing else renews",
		"certificate.renewal_log":       "what certbot's log tells of the last attempt: ok, hook_failed, failed or not_due; what failed stands until another attempt",
		"certificate.hook_exit_code":    "of the last deploy hook that certmedic ran; 0 after all succeeded",
		"certificate.remediation":       "outcome of the last action for the stored version, gave_up, or empty",
		"certificate.refusal":           "why a guard refused the last wish to act; empty where none did",
		"certificate.rehearsal":         "how the last rehearsals went: ok, hooks_failed, renewal_failed; empty where none was made",
		"certificate.approval":          "the ID of the plan that waits for a person's approval; empty where none does",
		"certificate.loan":              "a version that was rolled back to is served",
		"certificate.loan_ends_in":      "until the deadline of that",
		"certificate.loan_count":        "how many rollbacks there were for its cause within 30 days, this one included",
		"certificate.key_denied":        "the key of what is served or stored is on the deny list",
		"certificate.shared_failing":    "what is published elsewhere cannot be fetched, or must not be believed",
		"certificate.unpublished":       "this host has a version to publish, and could not",
		"certificate.standby_unfit":     "this host's own copy failed when it was served to certmedic itself, as a stand-in would have to serve it",
		"certificate.budget_remaining":  "how many certificates the CA still grants, by the limit that is closest",
		"certificate.nodes_behind":      "how many of its nodes have another version than the stored one, although nothing that they serve shows it: they cannot be reached, or nobody looks there",

		"endpoint.address":       "host:port",
		"endpoint.protocol":      "tls, smtp, imap and so on",
		"endpoint.labels":        "its labels",
		"endpoint.reachable":     "at least one of its addresses presented a certificate",
		"endpoint.vanished":      "it presented a certificate once, and its name no longer resolves",
		"endpoint.split":         "its addresses serve different versions",
		"endpoint.missed_rounds": "how many intervals ago it was probed last",
		"endpoint.findings":      "codes of all that is wrong with what it serves",

		"address.ip":              "ip:port",
		"address.reachable":       "it presented a certificate",
		"address.findings":        "codes of all that is wrong with what it serves",
		"address.served_sha256":   "SHA-256 of the leaf that it serves",
		"address.expires_in":      "until what it serves ends; negative once it has",
		"address.remaining_ratio": "the share of life that is left of what it serves, 0.0 to 1.0",
		"address.tls_version":     "the version of TLS that it chose, such as TLS 1.2",

		"file.path":       "its path",
		"file.mode":       "its permission bits in octal, such as 0640; empty where it is not there",
		"file.expires_in": "until the certificate in it ends",
		"file.findings":   "codes of all that is wrong with it",
	}
	maps.Copy(all, meaningsOfFleet())
	return all
}

// meaningsOfFleet are those of the variables about certmedic itself.
func meaningsOfFleet() map[string]string {
	return map[string]string{
		"fleet.certificates":      "how many certificates there are",
		"fleet.endpoints":         "how many endpoints there are",
		"fleet.last_round_age":    "since every endpoint had been probed once more",
		"fleet.missed_rounds":     "the same, in intervals",
		"fleet.queue_age":         "how long the oldest notification has waited; 0 where none does",
		"fleet.rule_errors":       "rules that could not be asked about something",
		"fleet.degraded":          "what certmedic cannot do now, in sentences",
		"fleet.failing_receivers": "receivers that do not take what they are sent",
		"fleet.state_unwritten":   "for how long the state folder could not be written; 0 where it can be",
		"fleet.coordinator_lost":  "for how long the coordinator of the cluster could not be asked; 0 where it can be, and where there is no cluster",
		"fleet.members_gone":      "members of the cluster that were there within the last day, and are not any more",
		"fleet.clock_skew":        "how far this clock is ahead of the CA's; negative: behind",
	}
}
