package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"
)

// How the garbage collector of the daemon is paced. Garbage is what handshakes leave behind,
// some 60 kB each, so that collecting rarely makes probes cheap: with Go's default of 100 %
// collections take a tenth of the processor's time. The heap of a small fleet may therefore
// grow to heapAim before it is collected, if that is not more than rarest; that of a large
// one, which takes most of heapAim by itself, is collected when it has grown by a quarter, so
// that ten thousand endpoints cost the memory that they need and not several times that.
const (
	heapAim   = 56 << 20 // bytes
	rarest    = 400      // per cent, as GOGC
	oftenest  = 25
	paceEvery = 5 * time.Second
)

// paceCollector keeps the pace until the context ends. Who sets GOGC or GOMEMLIMIT has the
// last word.
func paceCollector(ctx context.Context, environ []string) {
	if slices.ContainsFunc(environ, func(v string) bool { return strings.HasPrefix(v, "GOGC=") || strings.HasPrefix(v, "GOMEMLIMIT=") }) {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if first {
			debug.FreeOSMemory() // what reading the configuration has left behind
		}
		metrics.Read(live)
		debug.SetGCPercent(pace(live[0].Value.Uint64()))
	}
}

// pace returns by how many per cent a heap with so many live bytes may grow.
func pace(live uint64) int {
	room := heapAim - int(min(live, heapAim))
	return max(oftenest, min(rarest, room*100/max(1, int(live))))
}
