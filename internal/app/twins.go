package app

import (
	"errors"
	"fmt"

	"github.com/certmedic/certmedic/internal/config"
)

// twins names receivers that speak to the same place as another one, of the services that know an
// alert by its name alone: the end that one of them tells would end what the other has told.
func twins(c *config.Config) error {
	first := map[string]string{}
	var errs []error
	for i, r := range c.Alerting.Receivers {
		for _, place := range placesOf(r) {
			if other := first[place]; other != "" && other != r.Name {
				at := c.Position(fmt.Sprintf("alerting.receivers[%d]", i))
				errs = append(errs, fmt.Errorf("%s: receiver %q: it is the same service as %q, and each would end the other's alerts: name one of them in all routes", at, r.Name, other))
				break
			}
			first[place] = r.Name
		}
	}
	return errors.Join(errs...)
}

// placesOf returns where a receiver's alerts are known by their names. What is wrong with its secret is
// told by who needs it.
func placesOf(r config.Receiver) []string {
	var places []string
	if r.PagerDuty != nil {
		if key, err := secretLine(r.PagerDuty.RoutingKeyFile); err == nil {
			places = append(places, "pagerduty "+key)
		}
	}
	if r.Alertmanager != nil {
		for _, u := range r.Alertmanager.URLs {
			places = append(places, "alertmanager "+string(u))
		}
	}
	return places
}
