package gather

import (
	"fmt"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// BenchmarkAudit500 measures an audit of a host with 500 lineages, of which making them is no
// part. It is to take no more than five seconds.
func BenchmarkAudit500(b *testing.B) {
	tree := disktest.New(b)
	for i := range 500 {
		name := fmt.Sprintf("site%03d.example.test", i)
		tree.Issue(name, []string{name, "www." + name}, disktest.Options{})
	}
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		facts := Gather(b.Context(), Means{Reader: disk.Reader{Keys: &disk.KeyCache{}}, Trees: []string{tree.ConfigDir}})
		if got := len(facts.Lineages); got < 500 {
			b.Fatalf("%d lineages were seen", got)
		}
		if r := audit.Examine(&facts, audit.Options{}); r.Lineages < 500 {
			b.Fatal(r.Lineages)
		}
		if took := time.Since(start); took > 5*time.Second {
			b.Errorf("it took %s", took)
		}
	}
}
