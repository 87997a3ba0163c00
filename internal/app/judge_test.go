package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

func TestJudgeIssued(t *testing.T) {
	t.Parallel()
	ca := mint.Must(mint.NewCA("a root"))
	trusted := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(trusted, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	good := mint.Must(ca.Leaf(mint.Leaf{Names: []string{"*.shop.test"}}))
	early := mint.Must(ca.Leaf(mint.Leaf{Names: []string{"*.shop.test"}, NotBefore: time.Now().Add(time.Hour)}))
	for _, tt := range []struct {
		about, roots, name string
		pair               mint.Pair
		want               string
	}{
		{"what is good", trusted, "*.shop.test", good, ""},
		{"a chain that nobody trusts", "mozilla", "*.shop.test", good, "incomplete_chain"},
		{"another name", trusted, "bank.test", good, "name_mismatch"},
		{"what is not valid yet", trusted, "*.shop.test", early, "not_yet_valid"},
		{"roots that cannot be read", trusted + ".gone", "*.shop.test", good, "loading roots"},
	} {
		err := app.JudgeIssued([]string{tt.roots}, tt.name, tt.pair.Chain, time.Now())
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.about, err, tt.want)
		}
	}
}
