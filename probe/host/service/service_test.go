package service_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/service/servicetest"
)

func TestWhatServicesRefuse(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range service.Kinds() {
		for i, c := range servicetest.Cases(t, string(kind)) {
			t.Run(string(kind)+": "+c.About, func(t *testing.T) {
				found := service.Read(kind, servicetest.Write(t, c, string(kind), filepath.Join(dir, string(kind), strconv.Itoa(i))))
				judge(t, c, found.Problems)
			})
		}
	}
}

// judge holds problems against what the service says: those that are sure, and no others, are
// those for which it refuses the configuration.
func judge(t *testing.T, c servicetest.Case, problems []service.Problem) {
	t.Helper()
	told := false
	for _, p := range problems {
		switch {
		case p.Sure && !p.Late && c.Verdict != servicetest.Refused, p.Late && c.Verdict == servicetest.Accepted:
			t.Errorf("the service %s it, but %+v", c.Verdict, p)
		case p.Sure && p.Late == (c.Verdict == servicetest.Late) && strings.Contains(p.Text, c.Says):
			told = true
			if p.File == "" || p.Line == 0 && !strings.Contains(p.Text, "events") {
				t.Errorf("no place: %+v", p)
			}
		}
	}
	if !told && (c.Verdict == servicetest.Refused || c.Verdict == servicetest.Late) {
		t.Errorf("it is not found that %s: %+v", c.About, problems)
	}
}
