package rules

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
)

const docsPath = "../docs/rules.md"

var update = flag.Bool("update", false, "write the tables of docs/rules.md")

func TestEveryVariableHasItsMeaning(t *testing.T) {
	known := map[string]bool{}
	for _, v := range variables() {
		known[v.name] = true
		if meanings()[v.name] == "" {
			t.Errorf("%s has no meaning", v.name)
		}
	}
	for name := range meanings() {
		if !known[name] {
			t.Errorf("there is a meaning of %s, which is no variable", name)
		}
	}
}

func TestEveryExampleStandsForSomething(t *testing.T) {
	for _, c := range Conditions() {
		if c.Means == "" || c.Meaning == "" || len(c.About) == 0 {
			t.Errorf("got %+v", c)
		}
		if _, problems := compile(c.Means, c.About[0]); len(problems) > 0 {
			t.Errorf("%s: %v", c.Name, problems[0])
		}
	}
}

func TestVariablesSayWhoMayUseThem(t *testing.T) {
	for _, v := range Variables() {
		for _, about := range subjectKinds() {
			_, problems := compile("type("+v.Name+") == type("+v.Name+")", about)
			if may := slices.Contains(v.About, about); may != (len(problems) == 0) {
				t.Errorf("%s in rules about %s: documented as %v, but %v", v.Name, about, may, problems)
			}
		}
	}
}

// TestDocs holds the tables of docs/rules.md to the code, and its examples to what compiles.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	want := page
	for name, table := range map[string]string{"variables": variablesTable(), "conditions": conditionsTable()} {
		marked := regexp.MustCompile(`(?s)(<!-- ` + name + `[^>]*-->\n).*?(<!-- end -->)`)
		if !marked.Match(want) {
			t.Fatalf("%s has no place for the %s", docsPath, name)
		}
		want = marked.ReplaceAllFunc(want, func(old []byte) []byte {
			begin, _, _ := bytes.Cut(old, []byte("\n"))
			return []byte(string(begin) + "\n\n" + table + "\n<!-- end -->")
		})
	}
	if *update {
		if err := os.WriteFile(docsPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(page, want) {
		t.Errorf("%s is behind the code; run: go test ./rules -run TestDocs -update", docsPath)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(rules:\n.*?)```").FindAllSubmatch(want, -1)
	if len(examples) < 3 {
		t.Errorf("%s has %d examples of rules", docsPath, len(examples))
	}
	for _, example := range examples {
		if _, err := Load("example", example[1], 0); err != nil {
			t.Errorf("an example of %s: %v\n%s", docsPath, err, example[1])
		}
	}
}

func variablesTable() string {
	var b strings.Builder
	b.WriteString("| variable | type | meaning |\n|---|---|---|\n")
	for _, v := range Variables() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, v.Type, v.Meaning)
	}
	return b.String()
}

func conditionsTable() string {
	var b strings.Builder
	b.WriteString("| condition | about | holds when | stands for |\n|---|---|---|---|\n")
	for _, c := range Conditions() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", c.Example, kinds(c.About), c.Meaning, strings.ReplaceAll(c.Means, "|", `\|`))
	}
	return b.String()
}

func kinds(all []certmedic.SubjectKind) string {
	words := make([]string, 0, len(all))
	for _, k := range all {
		words = append(words, string(k))
	}
	return strings.Join(words, ", ")
}
