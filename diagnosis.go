package certmedic

import "time"

// Cause names why a certificate did not reach the end of its way, from a closed set.
type Cause string

// The causes, in the order of the way: what keeps a version from being issued, from being
// deployed, from being loaded, from being served.
const (
	CauseRenewalOverdue        Cause = "renewal_overdue"
	CauseRenewalNeverRan       Cause = "renewal_never_ran"
	CauseTimerDead             Cause = "timer_dead"
	CauseAutorenewOff          Cause = "autorenew_off"
	CauseNotDue                Cause = "not_due"
	CauseManualAuthenticator   Cause = "manual_authenticator"
	CausePortConflict          Cause = "port_conflict"
	CauseRateLimited           Cause = "rate_limited"
	CauseReplacesConflict      Cause = "replaces_conflict"
	CauseChallenge404          Cause = "challenge_404"
	CauseChallengeRefused      Cause = "challenge_refused"
	CauseChallengeTimeout      Cause = "challenge_timeout"
	CauseChallengeUnauthorized Cause = "challenge_unauthorized"
	CauseDNSFailed             Cause = "dns_failed"
	CauseCAAForbids            Cause = "caa_forbids"
	CauseCAUnreachable         Cause = "ca_unreachable"
	CauseDiskFull              Cause = "disk_full"
	CauseLockHeld              Cause = "lock_held"
	CauseLineageBroken         Cause = "lineage_broken"
	CauseKeyMismatch           Cause = "key_mismatch"

	CauseDeploying             Cause = "deploying"
	CauseHookFailed            Cause = "hook_failed"
	CauseHookSkipped           Cause = "hook_skipped"
	CauseHookMissing           Cause = "hook_missing"
	CauseHookHung              Cause = "hook_hung"
	CauseHookInterpreter       Cause = "hook_interpreter"
	CauseHookEnvironment       Cause = "hook_environment"
	CauseHookOrder             Cause = "hook_order"
	CauseInstallerReloadFailed Cause = "certbot_installer_reload_failed"
	CauseCopyStale             Cause = "copy_stale"
	CauseMapStale              Cause = "map_stale"
	CauseKeystoreStale         Cause = "keystore_stale"
	CauseMountStale            Cause = "mount_stale"
	CausePermissionDenied      Cause = "permission_denied"
	CauseMACDenied             Cause = "mac_denied"
	CauseDuplicateLineage      Cause = "duplicate_lineage"
	CauseWrongPath             Cause = "wrong_path"

	CauseConfigTestFailed Cause = "config_test_failed"
	CauseReloadFailed     Cause = "reload_failed"
	CauseServiceDown      Cause = "service_down"

	CauseOldWorker       Cause = "old_worker"
	CauseWrongVHost      Cause = "wrong_vhost"
	CauseHostUnreachable Cause = "host_unreachable"
	CauseSplitServing    Cause = "split_serving"

	CauseNone    Cause = "none"    // nothing is wrong
	CauseUnknown Cause = "unknown" // something is, and what was seen does not say why
)

// Causes returns the closed set, in the order of the way, none and unknown last.
func Causes() []Cause {
	return []Cause{
		CauseRenewalOverdue, CauseRenewalNeverRan, CauseTimerDead, CauseAutorenewOff, CauseNotDue, CauseManualAuthenticator,
		CausePortConflict, CauseRateLimited, CauseReplacesConflict, CauseChallenge404, CauseChallengeRefused, CauseChallengeTimeout,
		CauseChallengeUnauthorized, CauseDNSFailed, CauseCAAForbids, CauseCAUnreachable, CauseDiskFull, CauseLockHeld,
		CauseLineageBroken, CauseKeyMismatch,
		CauseDeploying, CauseHookFailed, CauseHookSkipped, CauseHookMissing, CauseHookHung, CauseHookInterpreter,
		CauseHookEnvironment, CauseHookOrder, CauseInstallerReloadFailed, CauseCopyStale, CauseMapStale, CauseKeystoreStale,
		CauseMountStale, CausePermissionDenied, CauseMACDenied, CauseDuplicateLineage, CauseWrongPath,
		CauseConfigTestFailed, CauseReloadFailed, CauseServiceDown,
		CauseOldWorker, CauseWrongVHost, CauseHostUnreachable, CauseSplitServing,
		CauseNone, CauseUnknown,
	}
}

// Named reports whether it is the cause of something: neither that nothing is wrong, nor that
// nobody knows, nor that the version is still on its way.
func (c Cause) Named() bool {
	return c != "" && c != CauseNone && c != CauseUnknown && c != CauseDeploying
}

// Diagnosis is one cause for what is wrong with a certificate, with what shows it and what
// mends it.
type Diagnosis struct {
	Subject    string     `json:"subject"` // the certificate's name, or the target as it was given
	Stage      Stage      `json:"stage"`   // the last stage that the newest version reached
	Cause      Cause      `json:"cause"`
	Evidence   []Evidence `json:"evidence"`   // the telling line first; never nil
	Fix        string     `json:"fix"`        // a command, or what a person has to do; empty where nothing is wrong
	Confidence float64    `json:"confidence"` // 0 to 1: 1 where the evidence leaves nothing else
	Summary    string     `json:"summary"`    // one sentence for people
	Time       time.Time  `json:"time"`       // when it was made, UTC
	Also       []Suspect  `json:"also,omitempty"`
}

// Suspect is a further cause for which there is evidence; it is not the one that explains what
// is wrong now, or a likelier one was found.
type Suspect struct {
	Cause      Cause      `json:"cause"`
	Evidence   []Evidence `json:"evidence"`
	Fix        string     `json:"fix"`
	Confidence float64    `json:"confidence"`
}
