package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/certmedic/certmedic/internal/hint"
)

func (v *validator) alerting(a Alerting) {
	v.notNegative("alerting.group_wait", a.GroupWait)
	names := map[string]string{}
	for i, r := range a.Receivers {
		key := fmt.Sprintf("alerting.receivers[%d]", i)
		v.name(key+".name", r.Name, names)
		if r.Webhook != nil {
			v.webhook(key+".webhook", r.Webhook)
		}
	}
	for i, r := range a.Routes {
		v.route(fmt.Sprintf("alerting.routes[%d]", i), r, names)
	}
}

func (v *validator) webhook(key string, w *Webhook) {
	u, err := url.Parse(string(w.URL))
	switch {
	case err != nil: // its text would show the whole address
		v.errorf(key+".url", "is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		v.errorf(key+".url", "must begin with http:// or https://")
	case u.Hostname() == "":
		v.errorf(key+".url", "has no host")
	}
	v.positive(key+".timeout", w.Timeout)
	v.path(key+".headers_file", w.HeadersFile)
}

func (v *validator) route(key string, r Route, receivers map[string]string) {
	if len(r.To) == 0 {
		v.errorf(key+".to", "needs at least one receiver")
	}
	for i, name := range r.To {
		if _, known := receivers[name]; !known {
			v.errorf(fmt.Sprintf("%s.to[%d]", key, i), "there is no receiver %q%s", name, hint.For(name, slices.Sorted(maps.Keys(receivers))))
		}
	}
}
