package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/window"
)

func (v *validator) patterns(key string, patterns map[string]string) {
	for _, label := range slices.Sorted(maps.Keys(patterns)) {
		if _, err := alerting.Pattern(patterns[label]); err != nil {
			v.errorf(key+"."+label, "%s", err)
		}
	}
}

func (v *validator) windows(key string, texts []string) {
	for i, text := range texts {
		if _, err := window.Parse(text); err != nil {
			v.errorf(fmt.Sprintf("%s[%d]", key, i), "%s", err)
		}
	}
}

// heartbeat warns where a sign of life every minute is a message to people, who would soon take
// no notice of them.
func (v *validator) heartbeat(key string, r Receiver) {
	if r.Beats() && (r.Slack != nil || r.Email != nil) {
		v.warnf(key, "has a heartbeat, which is a message to people every minute; better send it to what notices that it stays out")
	}
}
