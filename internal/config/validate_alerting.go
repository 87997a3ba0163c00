package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/certmedic/certmedic/internal/hint"
)

func (v *validator) alerting(a Alerting) {
	v.notNegative("alerting.group_wait", a.GroupWait)
	v.optionalURL("alerting.external_url", a.ExternalURL)
	v.optionalURL("alerting.runbook_url", a.RunbookURL)
	names := map[string]string{}
	for i, r := range a.Receivers {
		key := fmt.Sprintf("alerting.receivers[%d]", i)
		v.name(key+".name", r.Name, names)
		v.receiver(key, r)
		v.heartbeat(key, r)
		v.path(key+".texts_file", r.TextsFile)
	}
	for i, r := range a.Routes {
		v.route(fmt.Sprintf("alerting.routes[%d]", i), r, names)
	}
	for i, name := range a.Fallback {
		v.receiverName(fmt.Sprintf("alerting.fallback[%d]", i), name, names)
	}
}

func (v *validator) route(key string, r Route, receivers map[string]string) {
	if len(r.To) == 0 {
		v.errorf(key+".to", "needs at least one receiver")
	}
	for i, name := range r.To {
		v.receiverName(fmt.Sprintf("%s.to[%d]", key, i), name, receivers)
	}
	v.patterns(key+".match_re", r.MatchRE)
	v.windows(key+".windows", r.Windows)
	v.windows(key+".mute_windows", r.MuteWindows)
}

func (v *validator) receiverName(key, name string, receivers map[string]string) {
	if _, known := receivers[name]; !known {
		v.errorf(key, "there is no receiver %q%s", name, hint.For(name, slices.Sorted(maps.Keys(receivers))))
	}
}
