package diagnose

import "github.com/certmedic/certmedic"

// Entry answers what a client says with what it means, where to look, and what to do.
type Entry struct {
	Says  string // as certbot or its CA words it
	Cause certmedic.Cause
	Means string
	Look  string // a command
	Fix   string
}

// Guide returns the failures that guides to certbot list, with their answers.
func Guide() []Entry {
	entry := func(says string, cause certmedic.Cause, fix string) Entry {
		e := Explain(cause)
		return Entry{says, cause, e.Means, e.Look, fix}
	}
	return []Entry{
		entry("insufficient authorization, unauthorized", certmedic.CauseChallengeUnauthorized, "Have the name point to this host, and the folder of the challenges served from the webroot of the lineage; `certbot renew --cert-name NAME --dry-run`."),
		entry("too many certificates already issued, rateLimited", certmedic.CauseRateLimited, "Wait until the time that the message names; try with `--dry-run` meanwhile, which asks the staging directory. Look for what ordered so often."),
		entry("Hook 'deploy-hook' reported error code N", certmedic.CauseHookFailed, "Mend the hook, then `certmedic redeploy CERT`, or run it by hand with RENEWED_LINEAGE and RENEWED_DOMAINS set."),
		entry("Certificate not yet due for renewal", certmedic.CauseNotDue, "Nothing, where the certificate has more than a third of its life left; else remove renew_before_expiry and see that autorenew is not False."),
		entry("Timeout during connect (likely firewall problem)", certmedic.CauseChallengeTimeout, "Let port 80 in from everywhere; remove AAAA records that lead elsewhere."),
		entry("Invalid response from http://...: 404", certmedic.CauseChallenge404, "Name the folder that is served: `certbot reconfigure --cert-name NAME --webroot -w /var/www/html`."),
		entry("Connection refused", certmedic.CauseChallengeRefused, "Have a server listen on port 80 of every address of the name."),
		entry("Could not bind TCP port 80 because it is already in use", certmedic.CausePortConflict, "Renew through the server that has the port: `certbot reconfigure --cert-name NAME --webroot -w /var/www/html`; or stop it in a pre hook."),
		entry("Permission denied", certmedic.CausePermissionDenied, "Run certbot as root. Where a service may not read its key: `setfacl -m u:USER:rX` on what the evidence names."),
		entry("An unexpected error occurred", certmedic.CauseUnknown, "Read the log from the first line that says ERROR; `certmedic diagnose CERT` quotes it."),
	}
}
