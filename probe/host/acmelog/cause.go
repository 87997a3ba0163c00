package acmelog

import (
	"regexp"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// problemType finds the type of an ACME problem (RFC 8555, section 6.7), also in the form that
// it had before the RFC.
var problemType = regexp.MustCompile(`urn:(?:ietf:params:)?acme:error:([A-Za-z]+)`)

// why returns what a client's error comes from, unknown where its words are not known, and for
// a rate limit when the CA may be asked again.
//
// The type that the CA gave decides, and not what it quotes of an answer: anybody may have
// written that.
func why(text string) (certmedic.Cause, time.Time) {
	if m := problemType.FindStringSubmatchIndex(text); m != nil {
		return ofProblem(text[m[2]:m[3]], text[m[1]:])
	}
	lower := strings.ToLower(text)
	if strings.HasPrefix(lower, "requesting ") && strings.Contains(lower, ": ") {
		return certmedic.CauseCAUnreachable, time.Time{} // "Requesting ca.example/directory: Connection refused"
	}
	for _, s := range sayings {
		if strings.Contains(lower, s.words) {
			if s.cause == certmedic.CauseRateLimited {
				return s.cause, until(text)
			}
			return s.cause, time.Time{}
		}
	}
	return certmedic.CauseUnknown, time.Time{}
}

// saying is what clients say, in lower case, where something is the cause.
type saying struct {
	words string
	cause certmedic.Cause
}

// sayings are the words of certbot, of its plugins and of the libraries below them, the
// particular before the general.
var sayings = []saying{
	{"another instance of certbot is already running", certmedic.CauseLockHeld},
	{"too many certificates", certmedic.CauseRateLimited},
	{"too many failed authorizations", certmedic.CauseRateLimited},
	{"too many new orders", certmedic.CauseRateLimited},
	{"too many currently pending authorizations", certmedic.CauseRateLimited},
	{"temporarily prevented from requesting certificates", certmedic.CauseRateLimited},
	{"already been marked as replaced", certmedic.CauseReplacesConflict},
	{"the certificate being replaced", certmedic.CauseReplacesConflict},
	{"--manual-auth-hook when using the manual plugin", certmedic.CauseManualAuthenticator},
	{"the manual plugin is not working", certmedic.CauseManualAuthenticator},
	{"restart failed", certmedic.CauseInstallerReloadFailed}, // "... bind() failed: Address already in use", as the old nginx goes on
	{"reload failed", certmedic.CauseInstallerReloadFailed},
	{"unable to restart", certmedic.CauseInstallerReloadFailed},
	{"error while running apache2ctl graceful", certmedic.CauseInstallerReloadFailed},
	{"error while running apachectl graceful", certmedic.CauseInstallerReloadFailed},
	{"could not bind tcp port", certmedic.CausePortConflict},
	{"problem binding to port", certmedic.CausePortConflict},
	{"address already in use", certmedic.CausePortConflict},
	{"because you don't have the appropriate permissions", certmedic.CausePermissionDenied},
	{"no space left on device", certmedic.CauseDiskFull},
	{"disk quota exceeded", certmedic.CauseDiskFull},
	{"read-only file system", certmedic.CausePermissionDenied},
	{"permission denied", certmedic.CausePermissionDenied},
	{"unable to find deploy-hook command", certmedic.CauseHookMissing},
	{"unable to find pre-hook command", certmedic.CauseHookMissing},
	{"unable to find post-hook command", certmedic.CauseHookMissing},
	{"unable to find renew-hook command", certmedic.CauseHookMissing},
	{"-hook command", certmedic.CauseHookSkipped}, // "... exists, but is not executable."
	{"error while running", certmedic.CauseConfigTestFailed},
	{"misconfigurationerror", certmedic.CauseConfigTestFailed},
	{"plugin does not appear to be installed", certmedic.CauseLineageBroken},
	{"noinstallationerror", certmedic.CauseUnknown},
	{"plugin is not working", certmedic.CauseConfigTestFailed},
	{"does not exist or is not a directory", certmedic.CauseLineageBroken},
	{"missing command line flag or config entry", certmedic.CauseLineageBroken},
	{"pluginstorageerror", certmedic.CauseLineageBroken},
	{"plugin storage", certmedic.CauseLineageBroken},
	{"accountnotfound", certmedic.CauseLineageBroken},
	{"account at ", certmedic.CauseLineageBroken}, // "... does not exist"
	{"account registered with", certmedic.CauseLineageBroken},
	{"to be a symlink", certmedic.CauseLineageBroken},
	{"error parsing", certmedic.CauseLineageBroken},
	{"temporary failure in name resolution", certmedic.CauseCAUnreachable},
	{"name or service not known", certmedic.CauseCAUnreachable},
	{"failed to establish a new connection", certmedic.CauseCAUnreachable},
	{"max retries exceeded", certmedic.CauseCAUnreachable},
	{"connectionerror", certmedic.CauseCAUnreachable},
	{"connection aborted", certmedic.CauseCAUnreachable},
	{"read timed out", certmedic.CauseCAUnreachable},
	{"sslerror", certmedic.CauseCAUnreachable},
	{"service busy; retry later", certmedic.CauseCAUnreachable},
	{"error code for more info: 6", certmedic.CauseCAUnreachable}, // of curl, as acme.sh tells it
	{"libcurl-errors.html for error code", certmedic.CauseCAUnreachable},
	{"get \"https://", certmedic.CauseCAUnreachable}, // as lego tells it
	{"head \"https://", certmedic.CauseCAUnreachable},
	{"post \"https://", certmedic.CauseCAUnreachable},
}

// ofProblem returns what an ACME problem comes from, by its type and what the CA says about it.
func ofProblem(kind, detail string) (certmedic.Cause, time.Time) {
	lower := strings.ToLower(detail)
	switch strings.ToLower(kind) {
	case "ratelimited":
		return certmedic.CauseRateLimited, until(detail)
	case "alreadyreplaced":
		return certmedic.CauseReplacesConflict, time.Time{}
	case "unauthorized", "incorrectresponse", "malformed":
		return ofRefusal(strings.ToLower(kind), lower), time.Time{}
	case "connection", "tls":
		return ofConnection(lower), time.Time{}
	case "dns", "unknownhost":
		return certmedic.CauseDNSFailed, time.Time{}
	case "caa":
		return certmedic.CauseCAAForbids, time.Time{}
	case "serverinternal":
		return certmedic.CauseCAUnreachable, time.Time{}
	case "accountdoesnotexist":
		return certmedic.CauseLineageBroken, time.Time{}
	}
	return certmedic.CauseUnknown, time.Time{}
}

// ofRefusal tells apart why a CA did not like what it got.
func ofRefusal(kind, lower string) certmedic.Cause {
	switch {
	case strings.Contains(lower, "certificate being replaced"), strings.Contains(lower, "'replaces'"), strings.Contains(lower, `"replaces"`):
		return certmedic.CauseReplacesConflict
	case kind == "malformed":
		return certmedic.CauseUnknown
	case strings.HasSuffix(strings.TrimRight(lower, " .\n"), ": 404"), strings.Contains(lower, "returned 404"),
		strings.Contains(lower, "404 not found"), strings.Contains(lower, "<title>404"), strings.Contains(lower, "not found"):
		return certmedic.CauseChallenge404
	}
	return certmedic.CauseChallengeUnauthorized
}

// ofConnection tells apart why a CA could not speak with a server of the name.
func ofConnection(lower string) certmedic.Cause {
	for _, word := range []string{"timeout", "timed out", "deadline exceeded"} {
		if strings.Contains(lower, word) {
			return certmedic.CauseChallengeTimeout
		}
	}
	if strings.Contains(lower, "no such host") || strings.Contains(lower, "nxdomain") || strings.Contains(lower, "error occurred while resolving") {
		return certmedic.CauseDNSFailed
	}
	return certmedic.CauseChallengeRefused
}

// until returns when the CA may be asked again, as Let's Encrypt words it: "retry after
// 2026-08-05 08:24:35 UTC", formerly "2026-08-05T08:24:35Z".
func until(text string) time.Time {
	_, rest, ok := strings.Cut(text, "retry after ")
	if !ok {
		return time.Time{}
	}
	for _, layout := range []string{"2006-01-02 15:04:05 MST", time.RFC3339} {
		length := min(len(rest), len("2006-01-02 15:04:05 UTC"))
		if layout == time.RFC3339 {
			length = min(len(rest), len("2006-01-02T15:04:05Z"))
		}
		if at, err := time.Parse(layout, rest[:length]); err == nil {
			return at
		}
	}
	return time.Time{}
}

// said shortens an error to what a person reads: in one line, without a traceback.
func said(text string) string {
	text, _, _ = strings.Cut(text, "\nTraceback (most recent call last)")
	return told(strings.Join(strings.Fields(text[:min(len(text), maxOutput)]), " "), maxText)
}
