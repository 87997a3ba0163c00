package disk

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// manyLineages is the size of the trees that the benchmarks scan.
const manyLineages = 10_000

func bigTree(b *testing.B) map[string]certmedic.Source {
	b.Helper()
	tree := disktest.New(b)
	sources := make(map[string]certmedic.Source, manyLineages)
	for i := range manyLineages {
		name := fmt.Sprintf("site%05d.example.test", i)
		tree.Issue(name, []string{name, "www." + name}, disktest.Options{})
		sources[name] = tree.Source(name)
	}
	return sources
}

// cpuTime is the time that this process spent on the processor.
type cpuTime struct{ user, kernel time.Duration }

func cpuUsed(b *testing.B) cpuTime {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return cpuTime{time.Duration(usage.Utime.Nano()), time.Duration(usage.Stime.Nano())}
}

// reportEach reports the processor time since start for each lineage, and what the system
// calls had of it, which differs most between kernels.
func reportEach(b *testing.B, start cpuTime, lineages int) {
	b.Helper()
	used := cpuUsed(b)
	each := func(d time.Duration) float64 {
		return float64(d.Nanoseconds()) / 1000 / float64(b.N) / float64(lineages)
	}
	b.ReportMetric(each(used.user-start.user+used.kernel-start.kernel), "cpu-µs/lineage")
	b.ReportMetric(each(used.kernel-start.kernel), "kernel-µs/lineage")
}

// BenchmarkLineages10k measures what 10,000 lineages cost, of which making them is no part.
func BenchmarkLineages10k(b *testing.B) {
	sources := bigTree(b)
	b.Run("Scan", func(b *testing.B) { benchmarkScan(b, sources) })
	b.Run("Rescan", func(b *testing.B) { benchmarkRescan(b, sources) })
}

// benchmarkScan reads the lineages for the first time, from warm pages.
func benchmarkScan(b *testing.B, sources map[string]certmedic.Source) {
	now := time.Now().Add(time.Hour) // the files' times can be relied on by then
	for _, src := range sources {
		Read(src, now)
	}
	start := cpuUsed(b)
	for b.Loop() {
		reader := Reader{Keys: &KeyCache{}}
		for name, src := range sources {
			if content := reader.Read(src, now); len(content.Stored.Findings) > 0 || !content.KeyMatches {
				b.Fatalf("%s: %+v", name, content.Stored.Findings)
			}
		}
	}
	reportEach(b, start, len(sources))
}

// benchmarkRescan looks at the lineages, of which none has changed, as the watcher does
// over a whole turn of its polls.
func benchmarkRescan(b *testing.B, sources map[string]certmedic.Source) {
	w := NewWatcher(Options{Sources: sources, Changed: func(string) {}})
	r := newRound(w)
	defer r.close()
	r.takeSources()
	if degraded := w.Degraded(); len(degraded) > 0 {
		b.Skipf("not every folder can be watched: %s", degraded[0])
	}
	start := cpuUsed(b)
	for b.Loop() {
		for range fullEvery {
			r.poll()
		}
	}
	reportEach(b, start, len(sources)*fullEvery)
}
