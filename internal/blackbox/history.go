package blackbox

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"
)

// history remembers the last probes, a bounded number in all. Room is made where there is
// most: a target that is probed often, or that always fails, does not push out the others.
type history struct {
	limit int

	mu      sync.Mutex
	last    int64
	entries []entry // the oldest first
}

// entry is a remembered probe.
type entry struct {
	id     int64
	answer *answer
}

// subject is what probes are counted by.
type subject struct{ module, target string }

func (e entry) subject() subject {
	return subject{e.answer.request.moduleName, e.answer.request.target}
}

func (h *history) add(a *answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.entries = append(h.entries, entry{h.last, a})
	if len(h.entries) > h.limit {
		i := h.spare()
		h.entries = slices.Delete(h.entries, i, i+1)
	}
}

// spare returns the index of the entry to forget, never the newest: of the target with
// the most entries the oldest success, else the oldest. Failures are kept in preference
// as long as they fill no more than half of the history.
func (h *history) spare() int {
	count, failures := map[subject]int{}, 0
	for _, e := range h.entries {
		count[e.subject()]++
		if !e.answer.success {
			failures++
		}
	}
	preserve := failures <= h.limit/2
	best := 0
	for i, e := range h.entries[:len(h.entries)-1] {
		than := h.entries[best]
		more := count[e.subject()] - count[than.subject()]
		if more > 0 || more == 0 && preserve && e.answer.success && !than.answer.success {
			best = i
		}
	}
	return best
}

// find returns the newest entry that fits.
func (h *history) find(fits func(entry) bool) (entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range slices.Backward(h.entries) {
		if fits(e) {
			return e, true
		}
	}
	return entry{}, false
}

func (h *history) all() []entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries)
}

// History returns the handler of /logs. With the parameter id, or with target and perhaps
// module for the last probe of these, it tells the whole story of a probe as debug=true
// does; without any, it lists the probes that are remembered, the newest first.
func (h *Handler) History() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		id, target, module := query.Get("id"), query.Get("target"), query.Get("module")
		switch {
		case id != "" && target != "":
			http.Error(w, "Probe id and target can't be defined at the same time", http.StatusBadRequest)
		case id != "":
			h.writeByID(w, id)
		case target != "":
			h.writeByTarget(w, target, module)
		default:
			writeText(w, list(h.history.all()))
		}
	})
}

func (h *Handler) writeByID(w http.ResponseWriter, text string) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		http.Error(w, fmt.Sprintf("Probe id %q is not a number", text), http.StatusBadRequest)
		return
	}
	found, ok := h.history.find(func(e entry) bool { return e.id == id })
	if !ok {
		http.Error(w, fmt.Sprintf("Probe id %d not found", id), http.StatusNotFound)
		return
	}
	writeText(w, found.answer.debug())
}

func (h *Handler) writeByTarget(w http.ResponseWriter, target, module string) {
	found, ok := h.history.find(func(e entry) bool {
		s := e.subject()
		return s.target == target && (module == "" || s.module == module)
	})
	if !ok {
		http.Error(w, fmt.Sprintf("Probe target %q not found", target), http.StatusNotFound)
		return
	}
	writeText(w, found.answer.debug())
}

// list writes one line for each probe.
func list(entries []entry) []byte {
	var b bytes.Buffer
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tTIME\tMODULE\tTARGET\tRESULT\tDURATION") // a buffer takes everything
	for _, e := range slices.Backward(entries) {
		a := e.answer
		result := "success"
		if !a.success {
			result = "failure"
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%q\t%q\t%s\t%s\n", e.id, a.started.UTC().Format(time.RFC3339),
			a.request.moduleName, a.request.shown, result, a.took.Round(time.Millisecond))
	}
	_ = table.Flush()
	return b.Bytes()
}
