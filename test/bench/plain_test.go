package bench_test

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// measurePlain returns how many microseconds of the processor the obvious code takes for a
// verified probe.
func measurePlain(t *testing.T, f *fleet) float64 {
	t.Helper()
	p := start(t, os.Args[0], append(f.environment(), role+"=plain", fleetFolder+"="+f.folder))
	defer p.stop()
	for p.ask() < len(f.endpoints) {
		time.Sleep(poll)
	}
	return p.perProbe(p.ask)
}

// runPlain probes the fleet round after round with a pool of workers, until standard input
// ends. Each line of that asks how many probes have succeeded.
func runPlain() error {
	data, err := os.ReadFile(filepath.Join(os.Getenv(fleetFolder), endpointsFile))
	if err != nil {
		return err
	}
	var endpoints []endpoint
	if err := json.Unmarshal(data, &endpoints); err != nil {
		return err
	}
	var done atomic.Int64
	work := make(chan endpoint)
	for range workers {
		go func() {
			for e := range work {
				if probePlainly(e) == nil {
					done.Add(1)
				}
			}
		}()
	}
	go func() {
		for {
			for _, e := range endpoints {
				work <- e
			}
		}
	}()
	return answer(&done)
}

func probePlainly(e endpoint) error {
	conn, err := net.DialTimeout("tcp", e.Address, patience)
	if err != nil {
		return err
	}
	client := tls.Client(conn, &tls.Config{ServerName: e.Name})
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(patience))
	return client.Handshake()
}
