package guard_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/certmedic/certmedic/remediate/guard"
)

// declared returns the reasons that the package declares.
func declared(t *testing.T) (all []guard.Reason) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !regexp.MustCompile(`^[a-z]+\.go$`).MatchString(e.Name()) {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Reason" {
				return true
			}
			for _, value := range v.Values {
				text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				if text != "" {
					all = append(all, guard.Reason(text))
				}
			}
			return true
		})
	}
	slices.Sort(all)
	return all
}

// TestReasonsAreComplete keeps metrics from lacking a reason.
func TestReasonsAreComplete(t *testing.T) {
	want, got := declared(t), guard.Reasons()
	slices.Sort(got)
	if len(want) < 20 || !slices.Equal(got, want) {
		t.Errorf("Reasons returns\n%q, the package declares\n%q", got, want)
	}
}

// TestReasonsAreDocumented keeps docs/refusals.md the place that has them all, and says of each
// whether it goes away by itself.
func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []guard.Reason
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (yes|no) \\| .+ \\|$").FindAllSubmatch(page, -1) {
		reason := guard.Reason(row[1])
		listed = append(listed, reason)
		if again := string(row[2]) == "yes"; again != reason.Waits() {
			t.Errorf("the page says of %s %q to that it is tried again by itself, the guard %t", reason, row[2], reason.Waits())
		}
	}
	slices.Sort(listed)
	if want := declared(t); !slices.Equal(listed, want) {
		t.Errorf("the page lists\n%q, want\n%q", listed, want)
	}
}
