// Package ruleset holds the rules that certmedic ships. The app loads them unless the
// configuration says `rules: {defaults: false}`.
package ruleset

import (
	_ "embed"
	"fmt"
	"time"

	"github.com/certmedic/certmedic/rules"
)

//go:embed rules.yml
var source []byte

// Name is the file name that problems of the shipped rules would carry.
const Name = "shipped rules"

// Load compiles the shipped rules with the given grace for deployments.
func Load(deployGrace time.Duration) ([]rules.Rule, error) {
	loaded, err := rules.Load(Name, source, deployGrace)
	if err != nil {
		return nil, fmt.Errorf("loading the shipped rules: %w", err)
	}
	return loaded, nil
}
