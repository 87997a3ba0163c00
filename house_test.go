package certmedic_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/certmedic/certmedic"

// house is every package of the module, parsed.
type house struct {
	fset     *token.FileSet
	packages []*housePackage
}

type housePackage struct {
	ImportPath string
	Name       string
	Doc        string
	Dir        string
	GoFiles    []string
	Imports    []string

	path  string // below the module, "" for the root
	files []*ast.File
}

// TestHouse holds the rules of the house that can be read from its source.
func TestHouse(t *testing.T) {
	h := readHouse(t)
	t.Run("imports point down only", h.testImports)
	t.Run("the root package does no I/O and reads no clock", h.testRoot)
	t.Run("packages are named for what they do, and say so", h.testPackageNames)
	t.Run("no init functions", h.testNoInit)
	t.Run("no mutable package variables", h.testNoMutableVariables)
	t.Run("nothing global is used below cmd", h.testNoGlobals)
	t.Run("exported names have a doc comment", h.testExportedDocs)
	t.Run("functions are short", h.testShortFunctions)
	t.Run("metrics that are written about exist", h.testMetricNames)
}

func readHouse(t *testing.T) *house {
	t.Helper()
	watchFolders(t)
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	h := &house{fset: token.NewFileSet()}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		p := &housePackage{}
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			return h
		} else if err != nil {
			t.Fatalf("listing the packages: %v", err)
		}
		p.path = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(h.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			p.files = append(p.files, file)
		}
		h.packages = append(h.packages, p)
	}
}

// watchFolders reads every folder, so that go test does not take an earlier result from
// its cache when a file was added: it knows what the test reads, not what go list does.
func watchFolders(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && len(name) > 1 && strings.HasPrefix(e.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// at returns where a node is, as "folder/file.go:12".
func (h *house) at(p *housePackage, n ast.Node) string {
	at := h.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", path.Join(p.path, filepath.Base(at.Filename)), at.Line)
}

// The floors of the house, from the ground up. A package imports from lower floors, and
// from its own; verbs only from their own parts.
const (
	floorRoot = iota
	floorPlumbing
	floorVerbs
	floorJoints
	floorApp
	floorCommands
)

func floor(pkg string) int {
	top, rest, _ := strings.Cut(pkg, "/")
	inner, _, _ := strings.Cut(rest, "/")
	switch {
	case pkg == "":
		return floorRoot
	case isVerb(top):
		return floorVerbs
	case top == "cmd" || top == "test":
		return floorCommands
	case top == "internal" && inner == "app":
		return floorApp
	case top == "internal" && slices.Contains([]string{"watchdog", "web", "api", "metrics", "config", "store", "check", "blackbox", "prober", "scenario", "diagnose", "audit", "coord"}, inner):
		return floorJoints
	default:
		return floorPlumbing
	}
}

func isVerb(top string) bool {
	return slices.Contains([]string{"probe", "rules", "remediate", "alerting"}, top)
}

func firstElement(pkg string) string {
	top, _, _ := strings.Cut(pkg, "/")
	return top
}

func (h *house) testImports(t *testing.T) {
	for _, p := range h.packages {
		for _, imported := range p.Imports {
			if imported != module && !strings.HasPrefix(imported, module+"/") {
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
			if why := wrongImport(p.path, to); why != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
	}
}

// wrongImport says what is wrong with an import between two packages of the module; ""
// when nothing is.
func wrongImport(from, to string) string {
	isLab := func(pkg string) bool { return strings.HasPrefix(pkg+"/", "internal/lab/") }
	switch {
	case floor(to) > floor(from):
		return "imports point down only"
	case isVerb(firstElement(from)) && isVerb(firstElement(to)) && firstElement(from) != firstElement(to):
		return "sibling verbs never import each other; what two of them exchange belongs into the root package"
	case strings.HasPrefix(to, "alerting/") && to != "alerting/silence" && !strings.HasPrefix(from, "alerting/") && from != "internal/app" && from != "internal/scenario":
		return "only internal/app knows the receivers, and internal/scenario, which plays them"
	case to == "internal/testhost":
		return "throwaway hosts are for tests only"
	case isLab(to) && !isLab(from) && from != "cmd/certlab":
		return "the laboratory is for cmd/certlab and tests only"
	default:
		return ""
	}
}

func TestWrongImport(t *testing.T) {
	for _, row := range []struct {
		about, from, to string
		wrong           bool
	}{
		{"a verb uses the nouns", "probe", "", false},
		{"the nouns use a verb", "", "probe", true},
		{"a verb uses another", "rules", "probe", true},
		{"a verb's part uses its verb", "probe/live", "probe", false},
		{"a verb's part uses another verb's part", "remediate/deploy", "probe/disk", true},
		{"a verb uses plumbing", "remediate", "internal/execx", false},
		{"plumbing uses a verb", "internal/execx", "remediate", true},
		{"a verb uses the store", "rules", "internal/store", true},
		{"the watchdog uses verbs", "internal/watchdog", "rules", false},
		{"the watchdog uses the app", "internal/watchdog", "internal/app", true},
		{"the app uses a receiver", "internal/app", "alerting/webhook", false},
		{"the watchdog uses a receiver", "internal/watchdog", "alerting/webhook", true},
		{"tests of rules play a receiver", "internal/scenario", "alerting/slack/slackfake", false},
		{"a command uses the app", "cmd/certmedic", "internal/app", false},
		{"the product uses the laboratory", "internal/app", "internal/lab/ca", true},
		{"the laboratory's command uses it", "cmd/certlab", "internal/lab/ca", false},
	} {
		if why := wrongImport(row.from, row.to); (why != "") != row.wrong {
			t.Errorf("%s: %s imports %s says %q", row.about, row.from, row.to, why)
		}
	}
}

func (h *house) testRoot(t *testing.T) {
	root := h.packages[0]
	if root.path != "" {
		t.Fatalf("the first package is %s, not the root", root.ImportPath)
	}
	for _, imported := range root.Imports {
		first := firstElement(imported)
		if strings.Contains(first, ".") || slices.Contains([]string{"net", "os", "log", "io", "syscall"}, first) {
			t.Errorf("the root package imports %s", imported)
		}
	}
	for _, file := range root.files {
		for selector, name := range selectors(file) {
			if slices.Contains([]string{"time.Now", "time.Since", "time.Until"}, name) {
				t.Errorf("%s: the root package calls %s: pass now", h.at(root, selector), name)
			}
		}
	}
}

func (h *house) testPackageNames(t *testing.T) {
	forbidden := []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "misc"}
	for _, p := range h.packages {
		if slices.Contains(forbidden, p.Name) || slices.Contains(forbidden, path.Base(p.path)) {
			t.Errorf("%s: the name %q says nothing", p.ImportPath, p.Name)
		}
		if len(p.GoFiles) == 0 {
			continue
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + path.Base(p.path) + " "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s: its package comment does not begin with %q", p.ImportPath, want)
		}
	}
}

func (h *house) testNoInit(t *testing.T) {
	for p, f := range h.functions() {
		if f.Name.Name == "init" && f.Recv == nil {
			t.Errorf("%s: func init", h.at(p, f))
		}
	}
}

func (h *house) testNoMutableVariables(t *testing.T) {
	for _, p := range h.packages {
		for _, file := range p.files {
			for _, decl := range file.Decls {
				if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
					h.checkVariables(t, p, d)
				}
			}
		}
	}
}

func (h *house) checkVariables(t *testing.T, p *housePackage, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		if embedded(d.Doc) || embedded(v.Doc) {
			continue
		}
		for i, name := range v.Names {
			var value ast.Expr
			if i < len(v.Values) {
				value = v.Values[i]
			}
			if !constantLike(p, name.Name, value) {
				t.Errorf("%s: package variable %s can be changed", h.at(p, name), name.Name)
			}
		}
	}
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool {
		return strings.HasPrefix(c.Text, "//go:embed ")
	})
}

// constantLike reports whether a package variable is as good as a constant: an interface
// assertion, what the linker sets in a command, the result of a call that gives
// something immutable, or an unexported table that its package never assigns to.
func constantLike(p *housePackage, name string, value ast.Expr) bool {
	if name == "_" || p.Name == "main" && name == "version" {
		return true
	}
	if call, ok := value.(*ast.CallExpr); ok {
		immutable := []string{
			"errors.New", "regexp.MustCompile", "template.Must",
			"netip.MustParseAddr", "netip.MustParsePrefix", "strings.NewReplacer",
		}
		if slices.Contains(immutable, dotted(call.Fun)) {
			return true
		}
		if _, conversion := call.Fun.(*ast.ArrayType); !conversion {
			return false
		}
		return !token.IsExported(name) && !assigned(p, name)
	}
	_, table := value.(*ast.CompositeLit)
	return table && !token.IsExported(name) && !assigned(p, name)
}

// assigned reports whether the package assigns to the variable or a part of it, takes
// its address, or deletes from it.
func assigned(p *housePackage, name string) bool {
	found := false
	is := func(e ast.Expr) {
		if root := rootIdent(e); root != nil && root.Name == name {
			found = true
		}
	}
	for _, file := range p.files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, left := range n.Lhs {
						is(left)
					}
				}
			case *ast.IncDecStmt:
				is(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					is(n.X)
				}
			case *ast.CallExpr:
				if slices.Contains([]string{"delete", "clear", "copy"}, dotted(n.Fun)) && len(n.Args) > 0 {
					is(n.Args[0])
				}
			}
			return true
		})
	}
	return found
}

func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// dotted returns "name" or "package.Name" of such an expression, and "" of others.
func dotted(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

func (h *house) testNoGlobals(t *testing.T) {
	forbidden := []string{
		"os.Getenv", "os.LookupEnv", "os.Environ", "os.Args", "os.Exit",
		"http.DefaultClient", "http.DefaultTransport", "http.DefaultServeMux",
		"http.Get", "http.Head", "http.Post", "http.PostForm", "http.Handle", "http.HandleFunc",
		"slog.Default", "slog.SetDefault", "prometheus.DefaultRegisterer", "prometheus.MustRegister",
	}
	for _, p := range h.packages {
		if floor(p.path) == floorCommands || p.path == "internal/testhost" {
			continue // tests are told by CI=true where a skip is a failure
		}
		for _, file := range p.files {
			for selector, name := range selectors(file) {
				if slices.Contains(forbidden, name) {
					t.Errorf("%s: %s is used below cmd: pass it in", h.at(p, selector), name)
				}
			}
		}
	}
}

func (h *house) testExportedDocs(t *testing.T) {
	for _, p := range h.packages {
		if p.Name == "main" || strings.HasPrefix(p.path, "internal/") {
			continue
		}
		for _, file := range p.files {
			for _, decl := range file.Decls {
				for _, name := range undocumented(decl) {
					t.Errorf("%s: exported %s has no doc comment", h.at(p, name), name.Name)
				}
			}
		}
	}
}

// undocumented returns the exported names of a declaration that have no comment of
// their own, nor of their group.
func undocumented(decl ast.Decl) []*ast.Ident {
	var names []*ast.Ident
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
			names = append(names, d.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if d.Doc == nil && s.Doc == nil && s.Name.IsExported() {
					names = append(names, s.Name)
				}
			case *ast.ValueSpec:
				if d.Doc == nil && s.Doc == nil && s.Comment == nil {
					names = append(names, exportedOnly(s.Names)...)
				}
			}
		}
	}
	return names
}

func exportedOnly(names []*ast.Ident) []*ast.Ident {
	return slices.DeleteFunc(slices.Clone(names), func(n *ast.Ident) bool { return !n.IsExported() })
}

func exportedReceiver(recv *ast.FieldList) bool {
	root := rootIdent(recv.List[0].Type)
	return root != nil && root.IsExported()
}

func (h *house) testShortFunctions(t *testing.T) {
	const longest = 80
	for p, f := range h.functions() {
		lines := h.fset.Position(f.End()).Line - h.fset.Position(f.Pos()).Line + 1
		if lines > longest {
			t.Errorf("%s: %s has %d lines, more than %d", h.at(p, f), f.Name.Name, lines, longest)
		}
	}
}

// functions yields every function and method with its package.
func (h *house) functions() func(yield func(*housePackage, *ast.FuncDecl) bool) {
	return func(yield func(*housePackage, *ast.FuncDecl) bool) {
		for _, p := range h.packages {
			for _, file := range p.files {
				for _, decl := range file.Decls {
					if f, ok := decl.(*ast.FuncDecl); ok && !yield(p, f) {
						return
					}
				}
			}
		}
	}
}

// selectors yields every expression of the form package.Name with that text.
func selectors(file *ast.File) func(yield func(ast.Node, string) bool) {
	return func(yield func(ast.Node, string) bool) {
		more := true
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && more {
				if name := dotted(s); name != "" {
					more = yield(s, name)
				}
			}
			return more
		})
	}
}
