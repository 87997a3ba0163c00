package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// The environment of the processes that are started.
const (
	gate = "CERTMEDIC_BENCH"      // 1: measure
	role = "CERTMEDIC_BENCH_ROLE" // what a child process is: fleet or plain
)

// The programs that are measured. scripts/bench builds the one and fetches the other.
const (
	certmedicProgram = "../../bin/certmedic"
	blackboxProgram  = "../../.tools/blackbox/usr/bin/prometheus-blackbox-exporter"
)

// How much is measured.
const (
	rounds  = 3
	span    = 10 * time.Second // of each measurement
	usual   = 2_000            // endpoints
	many    = 10_000           // endpoints
	workers = 64               // requests at a time, for those who do not schedule for themselves
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "fleet":
		os.Exit(told(runFleet()))
	case "plain":
		os.Exit(told(runPlain()))
	}
	code := m.Run()
	if err := results.print(os.Stdout); err != nil {
		code = told(err)
	}
	os.Exit(code)
}

// told writes the error of a child process, and returns the code to exit with.
func told(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func gated(t *testing.T) {
	t.Helper()
	if os.Getenv(gate) == "" {
		t.Skip("measurements are made by `make bench`")
	}
}

// What a verified probe costs the processor: certmedic in its steady state, blackbox_exporter
// and a plain probe, one after the other.
func TestProcessorPerProbe(t *testing.T) {
	gated(t)
	fleet := startFleet(t, usual, false)
	var blackbox, plain, serve, scraped, toBlackbox, toPlain []float64
	for range rounds { // ratios of what was measured side by side: whatever else runs changes all of it
		b, p := measureBlackbox(t, fleet), measurePlain(t, fleet)
		quiet, busy := measureServe(t, fleet)
		blackbox, plain = append(blackbox, b), append(plain, p)
		serve, scraped = append(serve, quiet), append(scraped, busy)
		toBlackbox, toPlain = append(toBlackbox, quiet/b), append(toPlain, quiet/p)
	}
	results.add("blackbox_exporter, processor for a probe", micros(median(blackbox)))
	results.add("plain Go probe, processor for a probe", micros(median(plain)))
	results.add("certmedic serve, processor for a probe", micros(median(serve)))
	results.add("certmedic serve, scraped once in 10 s", micros(median(scraped)))
	results.atMost(t, "certmedic serve / blackbox_exporter", median(toBlackbox), 0.35)
	results.atMost(t, "certmedic serve / plain Go probe", median(toPlain), 0.55)
}

// What ten thousand endpoints cost in memory, beyond what certmedic takes when it has none.
func TestMemoryOfManyEndpoints(t *testing.T) {
	gated(t)
	idle := startServe(t, nil, time.Second)
	idle.settle()
	base := idle.resident(span)
	idle.stop()

	fleet := startFleet(t, many, false)
	d := startServe(t, fleet, 20*time.Second)
	d.awaitRounds(3)
	quiet := d.resident(span)
	before := d.cpu()
	d.scrape()
	results.add("one scrape of 10,000 endpoints, processor", fmt.Sprintf("%.0f ms", float64((d.cpu()-before).Microseconds())/1000))
	results.add("serve without endpoints, resident", megabytes(base))
	results.add("serve with 10,000 endpoints, resident", megabytes(quiet))
	results.add("the same, scraped", megabytes(d.resident(time.Second)))
	results.aim("10,000 endpoints, MB beyond idle", float64(quiet-base)/1e6, 60)
}

// A tenth of the fleet accepts connections and never answers: the rest keeps its pace.
func TestStalledTenth(t *testing.T) {
	gated(t)
	pace := func(stalled bool) float64 {
		fleet := startFleet(t, usual, stalled)
		d := startServe(t, fleet, 5*time.Second)
		d.awaitRounds(2)
		before := d.probes()
		time.Sleep(2 * span)
		made := d.probes() - before
		d.stop()
		fleet.stop()
		return float64(made)
	}
	free := pace(false) * 9 / 10
	results.add("probes of healthy endpoints in 20 s", fmt.Sprintf("%.0f", free))
	results.atLeast(t, "their pace while a tenth stalls", pace(true)/free, 0.95)
}

// `certmedic check` of ten thousand targets that it reads from standard input.
func TestCheckOfManyTargets(t *testing.T) {
	gated(t)
	small, _, _ := measureCheck(t, startFleet(t, many/10, false))
	large, cpu, wall := measureCheck(t, startFleet(t, many, false))
	results.add("check of 1,000 targets, peak memory", megabytes(small))
	results.add("check of 10,000 targets, peak memory", megabytes(large))
	results.add("check, processor for a target", micros(cpu.Seconds()*1e6/many))
	results.add("check of 10,000 targets, time", wall.Round(time.Millisecond).String())
	results.atMost(t, "check, memory for ten times the targets", float64(large)/float64(small), 1.5)
}

// What reading ten thousand lineages of certbot costs the processor, first and again, as the
// benchmarks of the package measure it.
func TestDisk(t *testing.T) {
	gated(t)
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "10k$", "-benchtime", "3x", "../../probe/disk").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for text := range strings.Lines(string(out)) {
		fields := strings.Fields(text)
		if at := slices.Index(fields, "cpu-µs/lineage"); at > 0 {
			name, _, _ := strings.Cut(fields[0], "-")
			results.add(name+", processor for a lineage", fields[at-1]+" µs")
		}
	}
}

// median returns the value in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
