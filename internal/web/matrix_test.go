package web_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web"
)

// matrices has one certificate, whose name is not as URLs have it.
type matrices struct{}

func (matrices) Matrix(certificate string) (api.Matrix, bool) {
	rows := []watchdog.MatrixRow{{Node: "web1", Verdict: watchdog.VerdictStale}}
	return api.Matrix{Certificate: certificate, Status: certmedic.StatusCritical, Rows: rows}, certificate == "shop/a b"
}

func TestMatrix(t *testing.T) {
	b := &backend{}
	none := http.NotFoundHandler()
	s := web.New(web.Options{
		Backend: b, Matrices: matrices{}, Acks: b, Silences: hushed{}, Approvals: b, Metrics: none, Probe: none, ProbeLogs: none,
		Login: func() bool { return false }, Log: slog.New(slog.DiscardHandler),
	})
	for _, row := range []struct {
		about, target string
		code          int
		want          string
	}{
		{"the matrix of a certificate", "/api/v1/certificates/shop%2Fa%20b/matrix", http.StatusOK, `"verdict": "stale"`},
		{"of one that is not there", "/api/v1/certificates/blog/matrix", http.StatusNotFound, `there is no certificate \"blog\"`},
		{"the page of a certificate", "/certificates/shop%3Cscript%3E", http.StatusOK, "hook-failed"},
		{"of one that is not there", "/certificates/blog", http.StatusNotFound, "no certificate is called"},
	} {
		for where, handler := range map[string]http.Handler{"in the open": s.Public(), "on the socket": s.Private()} {
			if where == "on the socket" && strings.HasPrefix(row.target, "/certificates/") {
				continue // it has no pages
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, row.target, nil))
			if w.Code != row.code || !strings.Contains(w.Body.String(), row.want) {
				t.Errorf("%s, %s: %d %s, want %d with %q", row.about, where, w.Code, w.Body, row.code, row.want)
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s, %s: it shows what a hook wrote", row.about, where)
			}
		}
	}
}
