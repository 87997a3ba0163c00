package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/config"
)

// TestDue shows when discovery looks again. Each row goes on from the one before it.
func TestDue(t *testing.T) {
	file := filepath.Join(t.TempDir(), "targets.yml")
	c := &config.Config{Discover: []config.Discover{{FileSD: &config.DiscoverFileSD{Files: []string{file}}}}}
	now := time.Now()
	g := &generation{config: c}
	g.see(sight{at: now})
	for _, row := range []struct {
		about string
		text  string // written before the question
		after time.Duration
		took  time.Duration // of the last look
		want  bool
	}{
		{"nothing changed", "", 0, 0, false},
		{"a file appeared, which may be half written", "- targets:", time.Second, 0, false},
		{"it is being written", "- targets: [", 2 * time.Second, 0, false},
		{"it has settled", "", 3 * time.Second, 0, true},
		{"the interval is over, but it is being written again", "- targets: []", time.Minute, 0, false},
		{"it never settles", "- targets: [a]", time.Minute + settleFor, 0, true},
		{"it settled as it was seen", "", time.Minute + settleFor + time.Second, 0, true},
		{"a long look is not repeated soon", "", time.Minute, 10 * time.Second, false},
		{"but after ten minutes", "", 10 * time.Minute, time.Hour, true},
	} {
		if row.text != "" {
			if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if row.took > 0 {
			g.see(sight{at: now, took: row.took, targets: targetFiles(c)})
		}
		if got := g.due(now.Add(row.after)); got != row.want {
			t.Errorf("%s: due is %t, want %t", row.about, got, row.want)
		}
	}
}
