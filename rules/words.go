package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
)

// ask is a word that a condition looks for in a variable: one that the variable is compared
// with, or that is looked up in it.
type ask struct {
	variable string
	word     string
	id       int64 // of the expression that holds the word
}

// asksOf lists the words that an expression looks for, on either side of ==, != and in,
// through the variables of macros, and as keys of tables.
func asksOf(checked *ast.AST) []ask {
	l := asking{checked, nil}
	root := ast.NavigateAST(checked)
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.CallKind)) {
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.Equals, operators.NotEquals, operators.In:
			l.compare(args[0], args[1])
			l.compare(args[1], args[0])
		case operators.Index:
			l.compare(args[0], args[1])
		}
	}
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.SelectKind)) {
		if name := l.variable(e.AsSelect().Operand()); name != "" {
			l.found = append(l.found, ask{name, e.AsSelect().FieldName(), e.ID()})
		}
	}
	return l.found
}

// asking gathers the asks of an expression, all of whose nodes know their parents.
type asking struct {
	checked *ast.AST
	found   []ask
}

// compare notes the words of one side, where the other one is a variable or an entry of it.
func (l *asking) compare(asked, with ast.Expr) {
	name := l.variable(asked)
	if name == "" {
		return
	}
	for _, e := range l.words(with) {
		l.found = append(l.found, ask{name, string(literal(e).(types.String)), e.ID()})
	}
}

// variable returns the name of the variable that an expression is, or is an entry of; "" where
// it is something else.
func (l *asking) variable(e ast.Expr) string {
	if r := rangeOf(e); r != nil {
		return l.variable(r)
	}
	if info, ok := l.checked.ReferenceMap()[e.ID()]; ok && info.Name != "" {
		return info.Name
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Index {
		if list := e.AsCall().Args()[0]; l.checked.GetType(list.ID()).Kind() == types.ListKind {
			return l.variable(list)
		}
	}
	return ""
}

// words lists the literals that an expression is, is a list of, or takes one after the other.
func (l *asking) words(e ast.Expr) []ast.Expr {
	if r := rangeOf(e); r != nil {
		return l.words(r)
	}
	if _, word := literal(e).(types.String); word {
		return []ast.Expr{e}
	}
	var all []ast.Expr
	if e.Kind() == ast.ListKind {
		for _, entry := range e.AsList().Elements() {
			all = append(all, l.words(entry)...)
		}
	}
	return all
}

// rangeOf returns what a macro looks through, where the expression is the macro's variable;
// nil where it is not.
func rangeOf(e ast.Expr) ast.Expr {
	inner, ok := e.(ast.NavigableExpr)
	if !ok || e.Kind() != ast.IdentKind {
		return nil
	}
	for {
		outer, has := inner.Parent()
		if !has {
			return nil
		}
		if outer.Kind() == ast.ComprehensionKind && outer.AsComprehension().IterVar() == e.AsIdent() {
			if r := outer.AsComprehension().IterRange(); r.ID() != inner.ID() {
				return r
			}
		}
		inner = outer
	}
}

// badWords finds words that a variable can never be, or hold: a rule that asks for one could
// never fire, or would always.
func badWords(checked *cel.Ast, asks []ask) []*conditionError {
	var problems []*conditionError
	sets := closedSets()
	info := checked.NativeRep().SourceInfo()
	for _, a := range asks {
		known, closed := sets[a.variable]
		if !closed || a.word == "" || slices.Contains(known, a.word) || a.variable == varKeyType && isKeyType(a.word) {
			continue
		}
		problems = append(problems, wrong(info.GetStartLocation(a.id), "%s is never %q%s", a.variable, a.word, hint.OrAll(a.word, known)))
	}
	return problems
}

// varKeyType is the variable whose words are a form rather than a list.
const varKeyType = "certificate.key_type"

// closedSets lists, by variable, all the words that it can be or hold. Texts may be empty too.
func closedSets() map[string][]string {
	findings, versions := findingCodes(), tlsVersions()
	return map[string][]string{
		"certificate.findings":        findings,
		"certificate.stored_findings": findings,
		"endpoint.findings":           findings,
		"address.findings":            findings,
		"file.findings":               findings,
		"certificate.tls_versions":    versions,
		"address.tls_version":         versions,
		"certificate.stage":           texts(certmedic.Stages()),
		"certificate.remediation":     append(texts(certmedic.OutcomeKinds()), "gave_up"),
		"certificate.rehearsal":       {"ok", "hooks_failed", "renewal_failed"},
		"certificate.renewal_basis":   {"ari", "learnt", "share"},
		"certificate.renewal_log":     {"ok", "hook_failed", "failed", "not_due"},
		varKeyType:                    append([]string{"rsa1024", "rsa2048", "rsa3072", "rsa4096"}, otherKeyTypes()...),
	}
}

func texts[T ~string](all []T) []string {
	var out []string
	for _, each := range all {
		out = append(out, string(each))
	}
	return out
}

func findingCodes() []string { return texts(certmedic.FindingCodes()) }

func otherKeyTypes() []string {
	return []string{"ec224", "ec256", "ec384", "ec521", "ed25519", "dsa", "unknown"}
}

// isKeyType reports whether a key can be of a type. Those of RSA keys say their size in bits,
// which is whole bytes.
func isKeyType(word string) bool {
	size, isRSA := strings.CutPrefix(word, "rsa")
	if !isRSA {
		return slices.Contains(otherKeyTypes(), word)
	}
	bits, err := strconv.ParseUint(size, 10, 16)
	return err == nil && bits > 0 && bits%8 == 0 && size == fmt.Sprint(bits)
}

// labelsAsked returns the asks for labels.
func labelsAsked(asks []ask) []ask {
	return slices.DeleteFunc(slices.Clone(asks), func(a ask) bool { return !strings.HasSuffix(a.variable, ".labels") })
}
