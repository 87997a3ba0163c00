package certmedic

import "slices"

// Severity orders how bad a finding or an incident is.
type Severity string

// The severities. SeverityUnknown stands between warning and critical in exit codes,
// because what could not be seen may be anything.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityUnknown  Severity = "unknown"
	SeverityCritical Severity = "critical"
)

// Rank orders severities from harmless (0) to critical (3).
func (s Severity) Rank() int {
	return slices.Index([]Severity{SeverityInfo, SeverityWarning, SeverityUnknown, SeverityCritical}, s)
}

// FindingCode names one kind of thing that can be wrong, from a closed set.
type FindingCode string

// The finding codes. Their severities are fixed, see [FindingCode.Severity].
const (
	Expired            FindingCode = "expired"
	NotYetValid        FindingCode = "not_yet_valid"
	NameMismatch       FindingCode = "name_mismatch"
	SelfSigned         FindingCode = "self_signed"
	Untrusted          FindingCode = "untrusted"        // a complete path ends at a root that is not trusted
	IncompleteChain    FindingCode = "incomplete_chain" // the issuer is neither presented nor a root
	WrongUsage         FindingCode = "wrong_usage"
	NameConstraint     FindingCode = "name_constraint"
	Revoked            FindingCode = "revoked"
	KeyMismatch        FindingCode = "key_mismatch"
	PinMismatch        FindingCode = "pin_mismatch"
	DANEMismatch       FindingCode = "dane_mismatch"
	MustStapleMissing  FindingCode = "must_staple_missing"
	NotACertificate    FindingCode = "not_a_certificate"
	Expiring           FindingCode = "expiring" // critical when less is left than the critical threshold
	RenewalOverdue     FindingCode = "renewal_overdue"
	ChainOrder         FindingCode = "chain_order"
	ChainExtra         FindingCode = "chain_extra"
	ChainExpiring      FindingCode = "chain_expiring"
	WeakKey            FindingCode = "weak_key"
	WeakSignature      FindingCode = "weak_signature"
	Drift              FindingCode = "drift"
	SplitServing       FindingCode = "split_serving"
	HTTPStatus         FindingCode = "http_status"
	CAAForbids         FindingCode = "caa_forbids"
	FilePermissions    FindingCode = "file_permissions"
	LineageBroken      FindingCode = "lineage_broken"
	NoSCT              FindingCode = "no_sct"
	RevocationUnknown  FindingCode = "revocation_unknown"
	ClientCertRequired FindingCode = "client_certificate_required"
	Unreachable        FindingCode = "unreachable"
	DNSFailed          FindingCode = "dns_failed"
	Timeout            FindingCode = "timeout"
	StartTLSFailed     FindingCode = "starttls_failed"
	HandshakeFailed    FindingCode = "handshake_failed"
	FileMissing        FindingCode = "file_missing"
	FileUnreadable     FindingCode = "file_unreadable"
)

// FindingCodes returns the closed set, critical codes first.
func FindingCodes() []FindingCode {
	return []FindingCode{
		Expired, NotYetValid, NameMismatch, SelfSigned, Untrusted, IncompleteChain, WrongUsage, NameConstraint,
		Revoked, KeyMismatch, PinMismatch, DANEMismatch, MustStapleMissing, NotACertificate,
		Expiring, RenewalOverdue, ChainOrder, ChainExtra, ChainExpiring, WeakKey, WeakSignature, Drift,
		SplitServing, HTTPStatus, CAAForbids, FilePermissions, LineageBroken,
		NoSCT, RevocationUnknown, ClientCertRequired,
		Unreachable, DNSFailed, Timeout, StartTLSFailed, HandshakeFailed, FileMissing, FileUnreadable,
	}
}

// Severity returns the code's fixed severity. A code outside the closed set is unknown.
func (c FindingCode) Severity() Severity {
	switch c {
	case Expired, NotYetValid, NameMismatch, SelfSigned, Untrusted, IncompleteChain, WrongUsage, NameConstraint,
		Revoked, KeyMismatch, PinMismatch, DANEMismatch, MustStapleMissing, NotACertificate:
		return SeverityCritical
	case Expiring, RenewalOverdue, ChainOrder, ChainExtra, ChainExpiring, WeakKey, WeakSignature, Drift,
		SplitServing, HTTPStatus, CAAForbids, FilePermissions, LineageBroken:
		return SeverityWarning
	case NoSCT, RevocationUnknown, ClientCertRequired:
		return SeverityInfo
	default:
		return SeverityUnknown
	}
}

// Finding is one fact that is wrong, with a detail that a person can act on. The
// detail may quote strings from certificates and servers: escape it where it is shown.
type Finding struct {
	Code     FindingCode `json:"code"`
	Severity Severity    `json:"severity"`
	Detail   string      `json:"detail"`
}

// NewFinding returns a finding with its code's fixed severity.
func NewFinding(code FindingCode, detail string) Finding {
	return Finding{Code: code, Severity: code.Severity(), Detail: detail}
}

// HasFinding reports whether one of the findings has the code.
func HasFinding(findings []Finding, code FindingCode) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Code == code })
}

// Status is the verdict of a check: the worst of its findings.
type Status string

// The statuses of `certmedic check`.
const (
	StatusOK       Status = "ok"
	StatusWarning  Status = "warning"
	StatusUnknown  Status = "unknown"
	StatusCritical Status = "critical"
)

// StatusOf returns the worst status that any of the findings has.
func StatusOf(findings ...Finding) Status {
	worst := SeverityInfo
	for _, f := range findings {
		if f.Severity.Rank() > worst.Rank() {
			worst = f.Severity
		}
	}
	switch worst {
	case SeverityWarning:
		return StatusWarning
	case SeverityUnknown:
		return StatusUnknown
	case SeverityCritical:
		return StatusCritical
	default:
		return StatusOK
	}
}

// Worse returns the worse of two statuses: ok, warning, unknown, critical.
func (s Status) Worse(other Status) Status {
	order := []Status{StatusOK, StatusWarning, StatusUnknown, StatusCritical}
	if slices.Index(order, other) > slices.Index(order, s) {
		return other
	}
	return s
}

// ExitCode returns the exit code of a check that ended with this status: 0 fine,
// 1 warning, 3 could not tell, 2 critical.
func (s Status) ExitCode() int {
	switch s {
	case StatusOK:
		return 0
	case StatusWarning:
		return 1
	case StatusCritical:
		return 2
	default:
		return 3
	}
}
