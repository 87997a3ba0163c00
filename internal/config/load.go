package config

import (
	"fmt"
	"io"
	"os"

	"github.com/certmedic/certmedic/internal/ownership"
)

// maxSize is the most bytes that a configuration may have.
const maxSize = 64 << 20

// Load reads and validates the configuration file at path. It also looks at the files
// that the configuration names: those that hold secrets or rules, and programs that
// would be run, have to be safe from changes by others, as the configuration itself.
//
// An error is an [*Errors] with everything that is wrong; it is [fs.ErrNotExist] where
// the configuration, or a file that it needs, is missing.
func Load(path string) (*Config, []Warning, error) {
	data, err := read(path)
	if err != nil {
		whole := Problem{Position: Position{File: path}, Message: err.Error(), Cause: err}
		return nil, nil, &Errors{Problems: []Problem{whole}}
	}
	c, r := parse(path, data)
	checkFiles(c, r)
	return c.concluded(r)
}

// Parse decodes and validates a configuration without looking at any file. The name
// stands for the file's in positions. An error is an [*Errors] with everything that is
// wrong.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	c, r := parse(name, data)
	return c.concluded(r)
}

// concluded returns the configuration, or what is wrong with it.
func (c *Config) concluded(r *report) (*Config, []Warning, error) {
	warnings, err := r.result()
	if err != nil {
		return nil, warnings, err
	}
	c.positions = c.positions.below("rules", "alerting", "audit")
	return c, warnings, nil
}

func parse(name string, data []byte) (*Config, *report) {
	r := &report{positions: positions{file: name, byKey: map[string]Position{}}}
	c, broken := decode(data, r)
	if !broken["alerting.receivers"] && !broken["alerting.routes"] {
		c.fillAlerting()
	}
	c.positions = r.positions
	v := &validator{report: r, broken: broken}
	v.config(c)
	return c, r
}

// read returns the content of a file that only its owner and root can change.
func read(path string) ([]byte, error) {
	if err := ownership.Check(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("reading the configuration: it is larger than %d bytes", maxSize)
	}
	if tooDeep(data) {
		return nil, fmt.Errorf("reading the configuration: more than %d brackets stand within each other", maxDepth)
	}
	return data, nil
}

// maxDepth is how many brackets may stand within each other. What the decoder needs for them
// grows faster than their number.
const maxDepth = 1000

// tooDeep reports whether too many brackets are open at once; those in quotes count, too.
func tooDeep(data []byte) bool {
	depth := 0
	for _, c := range data {
		switch c {
		case '[', '{':
			if depth++; depth > maxDepth {
				return true
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return false
}
