package story

import (
	"fmt"
	"strings"
)

// hookScript returns a deploy hook that fails at its first run after each renewal and
// works when it is run again.
func hookScript(markerPath, pidPath string) string {
	return fmt.Sprintf(`#!/bin/sh
# Reloads the web node. The first run after a renewal fails, as hooks do: once, for a
# reason that is gone a moment later, and with nobody looking.
if [ ! -e %[1]s ]; then
	: >%[1]s
	echo "cannot reach the web node" >&2
	exit 1
fi
kill -HUP "$(cat %[2]s)"
`, shellQuote(markerPath), shellQuote(pidPath))
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// scene is what certmedic's configuration needs to know.
type scene struct {
	stateDir, configDir, rootFile string
	resolver, endpoint, webhook   string
}

// configuration returns certmedic's configuration for the story.
func configuration(s scene) string {
	return fmt.Sprintf(`# Written by certlab for its story; every start writes it anew.
state_dir: %q
remediation: {mode: auto}
probe: {interval: 2s, timeout: 5s, roots: %q, resolvers: [%q]}
certificates:
  - name: %s
    source: {certbot: {config_dir: %q, lineage: %s}}
    endpoints:
      - {address: %q, protocol: https}
    remediation: {mode: auto, allow: [redeploy]}
alerting:
  receivers:
    - {name: story, webhook: {url: %q}}
  routes: [{to: [story], events: true}]
`, s.stateDir, s.rootFile, s.resolver, certificate, s.configDir, Name, s.endpoint, s.webhook)
}
