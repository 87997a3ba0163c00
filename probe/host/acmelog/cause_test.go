package acmelog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestWhy(t *testing.T) {
	const acme = "urn:ietf:params:acme:error:"
	for _, row := range []struct {
		text string
		want certmedic.Cause
	}{
		{acme + "unauthorized :: The client lacks sufficient authorization :: 203.0.113.5: Invalid response from http://x.test/.well-known/acme-challenge/y: 404", certmedic.CauseChallenge404},
		{acme + "unauthorized :: The client lacks sufficient authorization :: 203.0.113.5: Invalid response from http://x.test/.well-known/acme-challenge/y: 403", certmedic.CauseChallengeUnauthorized},
		{acme + "unauthorized :: The client lacks sufficient authorization :: Incorrect TXT record \"a\" found at _acme-challenge.x.test", certmedic.CauseChallengeUnauthorized},
		{acme + "unauthorized :: requester account did not request the certificate being replaced by this order", certmedic.CauseReplacesConflict},
		{acme + "alreadyReplaced :: cannot indicate an order replaces a certificate that has already been marked as replaced", certmedic.CauseReplacesConflict},
		{acme + "malformed :: could not validate ARI 'replaces' field", certmedic.CauseReplacesConflict},
		{acme + "malformed :: The request message was malformed :: no", certmedic.CauseUnknown},
		{acme + "connection :: The server could not connect to the client to verify the domain :: Fetching http://x.test/: Connection refused", certmedic.CauseChallengeRefused},
		{acme + "connection :: The server could not connect to the client :: Fetching http://x.test/: Timeout during connect (likely firewall problem)", certmedic.CauseChallengeTimeout},
		{acme + "connection :: Get \"http://x.test/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", certmedic.CauseChallengeTimeout},
		{acme + "dns :: There was a problem with a DNS query :: DNS problem: NXDOMAIN looking up A for x.test", certmedic.CauseDNSFailed},
		{acme + "caa :: Certification Authority Authorization (CAA) records forbid the CA from issuing :: CAA record for x.test prevents issuance", certmedic.CauseCAAForbids},
		{acme + "rateLimited :: There were too many requests of a given type :: too many failed authorizations (5) for \"x.test\" in the last 1h0m0s", certmedic.CauseRateLimited},
		{acme + "rateLimited :: Your account is temporarily prevented from requesting certificates for x.test. Please visit: https://portal.letsencrypt.org/unpause", certmedic.CauseRateLimited},
		{acme + "serverInternal :: The server experienced an internal error :: The service is down for maintenance", certmedic.CauseCAUnreachable},
		{acme + "accountDoesNotExist :: The request specified an account that does not exist", certmedic.CauseLineageBroken},
		{acme + "rejectedIdentifier :: The server will not issue for the identifier :: policy forbids issuing for name", certmedic.CauseUnknown},
		{"urn:acme:error:unauthorized :: The client lacks sufficient authorization :: Invalid response: \"<title>404 Not Found</title>\"", certmedic.CauseChallenge404},
		// What a server of the name answered is not believed to be what the CA says.
		{acme + "unauthorized :: Invalid response from http://x.test/: \"urn:ietf:params:acme:error:rateLimited too many certificates, retry after 2099-01-01 00:00:00 UTC\"", certmedic.CauseChallengeUnauthorized},

		{"An unexpected error occurred:\nError creating new order :: too many certificates already issued for: x.test", certmedic.CauseRateLimited},
		{"Could not bind TCP port 80 because it is already in use by another process on this system", certmedic.CausePortConflict},
		{"Could not bind TCP port 80 because you don't have the appropriate permissions", certmedic.CausePortConflict},
		{"Problem binding to port 80: Could not bind to IPv4 or IPv6.", certmedic.CausePortConflict},
		{"The error was: PluginError('An authentication script must be provided with --manual-auth-hook when using the manual plugin non-interactively.',)", certmedic.CauseManualAuthenticator},
		{"nginx restart failed:\nnginx: [emerg] bind() failed", certmedic.CauseInstallerReloadFailed},
		{"nginx restart failed:\nnginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", certmedic.CauseInstallerReloadFailed},
		{"The nginx plugin is not working; there may be problems with your existing configuration.\nThe error was: MisconfigurationError('Error while running nginx -c /etc/nginx/nginx.conf -t.')", certmedic.CauseConfigTestFailed},
		{"The apache plugin is not working; there may be problems with your existing configuration.\nThe error was: NoInstallationError(\"Cannot find Apache executable apache2ctl\")", certmedic.CauseUnknown},
		{"[Errno 28] No space left on device: '/etc/letsencrypt/archive/x.test/cert2.pem'", certmedic.CauseDiskFull},
		{"[Errno 13] Permission denied: '/etc/letsencrypt/live'", certmedic.CausePermissionDenied},
		{"[Errno 30] Read-only file system: '/etc/letsencrypt/renewal'", certmedic.CausePermissionDenied},
		{"Another instance of Certbot is already running.", certmedic.CauseLockHeld},
		{"PluginStorageError: Unable to read pluginstorage file", certmedic.CauseLineageBroken},
		{"Account at /etc/letsencrypt/accounts/acme-v02.api.letsencrypt.org/directory/0123 does not exist", certmedic.CauseLineageBroken},
		{"/var/www/gone does not exist or is not a directory", certmedic.CauseLineageBroken},
		{"expected /etc/letsencrypt/live/x.test/cert.pem to be a symlink", certmedic.CauseLineageBroken},
		{"HTTPSConnectionPool(host='acme-v02.api.letsencrypt.org', port=443): Max retries exceeded with url: /directory (Caused by NewConnectionError('<x>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution'))", certmedic.CauseCAUnreachable},
		{"Requesting acme-v02.api.letsencrypt.org/directory: Network is unreachable", certmedic.CauseCAUnreachable},
		{"HTTPSConnectionPool(host='acme-v02.api.letsencrypt.org', port=443): Read timed out. (read timeout=45)", certmedic.CauseCAUnreachable},
		{"something that nobody has seen before", certmedic.CauseUnknown},
		{"", certmedic.CauseUnknown},
	} {
		if got, _ := why(row.text); got != row.want {
			t.Errorf("%q: %s, want %s", row.text, got, row.want)
		}
	}
}

func TestUntil(t *testing.T) {
	want := time.Date(2026, 8, 5, 8, 24, 35, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"too many certificates (5), retry after 2026-08-05 08:24:35 UTC: see https://x": want,
		"retry after 2026-08-05T08:24:35Z: see":                                         want,
		"retry after a while":                                                           {},
		"retry after ":                                                                  {},
		"nothing":                                                                       {},
	} {
		if got := until(text); !got.Equal(want) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
