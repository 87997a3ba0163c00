package diagnose

import "github.com/certmedic/certmedic"

// Explanation tells people about a cause: what it means in a sentence, and where to look.
type Explanation struct {
	Means string
	Look  string // a command
}

// Explain explains a cause. Names of certificates and files are not in it: a [Result] has those
// of its own case.
func Explain(cause certmedic.Cause) Explanation {
	for _, explain := range []func(certmedic.Cause) Explanation{explainRenewal, explainChallenge, explainHook, explainCopy, explainService} {
		if e := explain(cause); e.Means != "" {
			return e
		}
	}
	return Explanation{Means: "What could be seen does not say why.", Look: "certmedic diagnose CERT --json"}
}

func explainRenewal(cause certmedic.Cause) Explanation {
	switch cause {
	case certmedic.CauseRenewalOverdue:
		return Explanation{"The certificate should have been replaced by now, and nothing was issued.", "certbot certificates"}
	case certmedic.CauseRenewalNeverRan:
		return Explanation{"Nothing on this host starts a renewal, and no run of the client is on record.", "systemctl list-timers --all; ls /etc/cron.d"}
	case certmedic.CauseTimerDead:
		return Explanation{"What starts renewals is switched off, is broken, or has stopped starting them.", "systemctl list-timers --all; systemctl status certbot.timer"}
	case certmedic.CauseAutorenewOff:
		return Explanation{"The lineage is switched off with autorenew = False; certbot calls it \"not yet due\" even when it has expired.", "grep autorenew /etc/letsencrypt/renewal/*.conf"}
	case certmedic.CauseNotDue:
		return Explanation{"certbot ran and put the renewal off: by its own settings the certificate is not yet due.", "grep renew_before_expiry /etc/letsencrypt/renewal/*.conf"}
	case certmedic.CauseManualAuthenticator:
		return Explanation{"The certificate was issued by hand, and no hook proves control of its names without a person.", "grep -E 'authenticator|manual' /etc/letsencrypt/renewal/*.conf"}
	case certmedic.CauseRateLimited:
		return Explanation{"The CA refuses new orders because too many certificates, orders or failed attempts came before.", "grep -n rateLimited /var/log/letsencrypt/letsencrypt.log"}
	case certmedic.CauseReplacesConflict:
		return Explanation{"The CA refuses the order because the certificate that it should replace was replaced already, or belongs to another account.", "grep -n -i replace /var/log/letsencrypt/letsencrypt.log"}
	case certmedic.CauseCAUnreachable:
		return Explanation{"The CA could not be reached, or answered with an error of its own.", "curl -sS -o /dev/null -w '%{http_code}\\n' https://acme-v02.api.letsencrypt.org/directory"}
	case certmedic.CauseDiskFull:
		return Explanation{"There is no space, or there are no inodes, to write the new version.", "df -h /etc/letsencrypt /var/log; df -i /etc/letsencrypt"}
	case certmedic.CauseLockHeld:
		return Explanation{"Another run of the client holds its lock, so that every further run ends at once.", "ps -ef | grep [c]ertbot"}
	case certmedic.CauseLineageBroken:
		return Explanation{"The lineage's files or its renewal configuration are not as certbot needs them, so that it skips or misreads it.", "certbot certificates"}
	case certmedic.CauseKeyMismatch:
		return Explanation{"The private key does not belong to the certificate beside it.", "certmedic check /etc/letsencrypt"}
	}
	return Explanation{}
}

func explainChallenge(cause certmedic.Cause) Explanation {
	const look = "grep -n -E 'Detail:|urn:ietf' /var/log/letsencrypt/letsencrypt.log"
	switch cause {
	case certmedic.CausePortConflict:
		return Explanation{"The client wants to answer on port 80 itself, and another program listens there.", "ss -ltnp 'sport = :80'"}
	case certmedic.CauseChallenge404:
		return Explanation{"The CA asked for the token below /.well-known/acme-challenge/ and got another page or \"not found\": the webroot is another folder than the one that is served.", look}
	case certmedic.CauseChallengeRefused:
		return Explanation{"The CA was refused the connection to port 80: nothing listens there, or a firewall says no.", look}
	case certmedic.CauseChallengeTimeout:
		return Explanation{"The CA got no answer from port 80: a firewall drops it, or an AAAA record leads elsewhere.", look}
	case certmedic.CauseChallengeUnauthorized:
		return Explanation{"The CA did not accept the proof of control: insufficient authorization for a name.", look}
	case certmedic.CauseDNSFailed:
		return Explanation{"A name does not resolve, or its DNS servers answer with an error.", look}
	case certmedic.CauseCAAForbids:
		return Explanation{"A CAA record allows another CA only.", "dig CAA example.com"}
	}
	return Explanation{}
}

func explainHook(cause certmedic.Cause) Explanation {
	const look = "grep -n -E 'deploy-hook|Hook' /var/log/letsencrypt/letsencrypt.log"
	switch cause {
	case certmedic.CauseDeploying:
		return Explanation{"The client or a hook of it is at work just now; the new version may be served in a moment.", "certmedic diagnose CERT"}
	case certmedic.CauseHookFailed:
		return Explanation{"The deploy hook failed. certbot exits 0 all the same, and never runs it again for this version.", look}
	case certmedic.CauseHookSkipped:
		return Explanation{"There is a deploy hook, and certbot passes it over without a word.", "ls -l /etc/letsencrypt/renewal-hooks/deploy"}
	case certmedic.CauseHookMissing:
		return Explanation{"Nothing tells the service to load the new version: no deploy hook, no installer, no deploy step does.", "ls -l /etc/letsencrypt/renewal-hooks/deploy; grep renew_hook /etc/letsencrypt/renewal/*.conf"}
	case certmedic.CauseHookHung:
		return Explanation{"A hook was started and does not end; the client waits for it, without a limit, and holds its lock.", "ps -ef --forest | grep -A5 [c]ertbot"}
	case certmedic.CauseHookInterpreter:
		return Explanation{"The system cannot run the hook: its interpreter is missing, its lines end as on Windows, or it is for another machine.", "head -1 HOOK | od -c | head -2"}
	case certmedic.CauseHookEnvironment:
		return Explanation{"The hook calls a program that is not found with the PATH of what starts it.", "systemctl show certbot.service -p Environment"}
	case certmedic.CauseHookOrder:
		return Explanation{"The service was reloaded, or the files were copied, before the new version was in place.", "ls /etc/letsencrypt/renewal-hooks/*"}
	case certmedic.CauseInstallerReloadFailed:
		return Explanation{"certbot stored the new version, and its nginx or apache plugin could not reload the server. It does not try again.", "grep -n -E 'restart failed|reload failed' /var/log/letsencrypt/letsencrypt.log"}
	}
	return Explanation{}
}

func explainCopy(cause certmedic.Cause) Explanation {
	switch cause {
	case certmedic.CauseCopyStale:
		return Explanation{"The service reads a copy, and the copy was not renewed.", "certmedic check COPY"}
	case certmedic.CauseMapStale:
		return Explanation{"The service reads a table that holds the certificate itself, and the table was not made again.", "ls -l --time-sort TABLE TABLE.db"}
	case certmedic.CauseKeystoreStale:
		return Explanation{"The service reads a key store into which the new version was not imported.", "certmedic check KEYSTORE"}
	case certmedic.CauseMountStale:
		return Explanation{"The service's container or mount shows it the old file: a single file that was mounted stays the old one when it is replaced.", "cat /proc/PID/mountinfo"}
	case certmedic.CausePermissionDenied:
		return Explanation{"The service's user may not read the new file, or a folder above it.", "namei -l FILE"}
	case certmedic.CauseMACDenied:
		return Explanation{"SELinux or AppArmor keeps the service from reading the new file.", "ls -Z FILE; journalctl -t audit -g denied"}
	case certmedic.CauseDuplicateLineage:
		return Explanation{"There are two lineages for the same names, and what is served comes from the other one.", "certbot certificates"}
	case certmedic.CauseWrongPath:
		return Explanation{"The service's configuration names a file that a renewal does not change, or not the whole chain.", "nginx -T | grep ssl_certificate"}
	}
	return Explanation{}
}

func explainService(cause certmedic.Cause) Explanation {
	switch cause {
	case certmedic.CauseConfigTestFailed:
		return Explanation{"The service's configuration has a mistake, so that it keeps running with the old one.", "nginx -t; apachectl configtest"}
	case certmedic.CauseReloadFailed:
		return Explanation{"The reload was asked for and failed, or did not reach the process that serves.", "systemctl status nginx; journalctl -u nginx -n 20"}
	case certmedic.CauseServiceDown:
		return Explanation{"Nothing listens at the address: the service is not running.", "systemctl status nginx; ss -ltnp"}
	case certmedic.CauseOldWorker:
		return Explanation{"The files are new, and a process that was started before still serves what it read then.", "ps -o pid,lstart,cmd -C nginx"}
	case certmedic.CauseWrongVHost:
		return Explanation{"Another server of the configuration answers to this name at this address, with a certificate of its own.", "nginx -T | grep -E 'server_name|listen'"}
	case certmedic.CauseHostUnreachable:
		return Explanation{"A host that should serve the version does not answer from here.", "certmedic check HOST"}
	case certmedic.CauseSplitServing:
		return Explanation{"Some addresses serve the new version and others do not: a node was left out.", "certmedic check HOST --compare PATH"}
	case certmedic.CauseNone:
		return Explanation{"Nothing is wrong.", "certmedic check HOST"}
	}
	return Explanation{}
}
