package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
)

// maxNodes bounds what aliases can make of a small file.
const maxNodes = 4 << 20

// decoder fills a Config from a syntax tree. It goes on after a mistake, so that all of
// them are found in one pass; a syntax error alone ends it.
type decoder struct {
	*report
	anchors map[string]ast.Node
	broken  map[string]bool // keys whose value could not be read: their zero means nothing
	nodes   int
}

// decode reads one YAML document strictly.
func decode(data []byte, r *report) (*Config, map[string]bool) {
	d := &decoder{report: r, anchors: map[string]ast.Node{}, broken: map[string]bool{}}
	c := &Config{}
	c.setDefaults()
	if body := d.parse(data); body != nil {
		d.value("", body, reflect.ValueOf(c).Elem(), field{})
	}
	return c, d.broken
}

// parse returns the body of the only document, or nil where there is none.
func (d *decoder) parse(data []byte) ast.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.syntaxError(err)
		return nil
	}
	var body ast.Node
	documents := 0
	for _, doc := range file.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); directive {
			continue
		}
		if documents++; documents == 1 {
			body = doc.Body
			continue
		}
		at := d.positions.of("")
		if doc.Start != nil {
			at = d.at(doc.Start)
		}
		d.errorAt(at, "", "a second document begins here; the configuration is one document")
		break
	}
	if body != nil {
		ast.Walk(d, body)
	}
	return body
}

func (d *decoder) syntaxError(err error) {
	d.broken[""] = true
	at, message := d.positions.of(""), err.Error()
	var located yaml.Error
	if errors.As(err, &located) {
		message = located.GetMessage()
		if tk := located.GetToken(); tk != nil {
			at = d.at(tk)
		}
	}
	d.errorAt(at, "", message)
}

// Visit collects the anchors of the document, see [ast.Visitor].
func (d *decoder) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		d.anchors[anchor.Name.GetToken().Value] = anchor.Value
	}
	return d
}

// value decodes a node into v. The field is that of the key, or of the list. Null keeps
// the defaults: of the value, or, as in "- nginx:", those of a section that is asked for.
func (d *decoder) value(key string, n ast.Node, v reflect.Value, f field) {
	n = d.resolve(key, n)
	if n == nil {
		return
	}
	section := v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct
	if n.Type() == ast.NullType && !section {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
		setDefaults(v)
	}
	if _, scalar := n.(ast.ScalarNode); scalar {
		d.positions.byKey[key] = d.at(n.GetToken())
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(key, n, v)
	case reflect.Map:
		d.table(key, n, v, f)
	case reflect.Slice:
		d.list(key, n, v, f)
	default:
		d.scalar(key, n, v, f)
	}
}

// resolve returns the node that an anchor or alias stands for, and nil where the value
// cannot be used.
func (d *decoder) resolve(key string, n ast.Node) ast.Node {
	if d.nodes++; d.nodes > maxNodes {
		if d.nodes == maxNodes+1 {
			d.mismatch(key, "the file has more than %d values once its aliases are expanded", maxNodes)
		}
		return nil
	}
	if anchor, ok := n.(*ast.AnchorNode); ok {
		n = anchor.Value
	}
	switch n := n.(type) {
	case *ast.AliasNode:
		target, ok := d.anchors[n.Value.GetToken().Value]
		if !ok {
			d.mismatch(key, "no anchor %q", n.Value.GetToken().Value)
			return nil
		}
		return target
	case *ast.TagNode:
		d.mismatch(key, "YAML tags such as %q are not used here", n.GetToken().Value)
		return nil
	}
	return n
}

// mismatch reports a value that could not be read.
func (d *decoder) mismatch(key, format string, args ...any) {
	d.broken[key] = true
	d.errorf(key, format, args...)
}

func (d *decoder) structure(key string, n ast.Node, v reflect.Value) {
	entries, ok := mappingEntries(n)
	if !ok {
		d.mismatch(key, "must be a mapping of keys to values, not %s", describe(n))
		return
	}
	m := mappingOf(v.Type())
	given := d.eachKey(key, entries, func(name, path string, value ast.Node) {
		if f, ok := m.field(name); ok {
			d.value(path, value, v.Field(f.index), f)
			return
		}
		d.otherKey(m, name, path, value)
	})
	for _, f := range m.fields {
		if f.required && !given[f.key] {
			d.mismatch(join(key, f.key), "is missing")
		}
	}
	d.exactlyOne(key, m, given)
}

// eachKey calls use for every key of a mapping, and returns the keys that have a value.
func (d *decoder) eachKey(key string, entries []*ast.MappingValueNode, use func(name, path string, value ast.Node)) map[string]bool {
	given := make(map[string]bool, len(entries))
	first := make(map[string]int, len(entries))
	for _, e := range entries {
		tk := e.Key.GetToken()
		name := tk.Value
		if _, scalar := e.Key.(ast.ScalarNode); !scalar || e.Key.IsMergeKey() {
			d.errorAt(d.at(tk), key, "merge keys and keys that are no plain words are not used here")
			continue
		}
		path := join(key, name)
		if line, twice := first[name]; twice {
			d.errorAt(d.at(tk), path, fmt.Sprintf("the key is given twice, first in line %d", line))
			continue
		}
		first[name] = tk.Position.Line
		given[name] = e.Value.Type() != ast.NullType
		d.positions.byKey[path] = d.at(tk)
		use(name, path, e.Value)
	}
	return given
}

// otherKey reports a key that has no field.
func (d *decoder) otherKey(m mapping, name, path string, value ast.Node) {
	note, ignored := m.ignored[name]
	switch {
	case asksNothing(value) && (ignored || slices.Contains(m.unsupported, name)):
	case ignored:
		d.warnf(path, "not acted on by this version; %s", note)
	case slices.Contains(m.unsupported, name):
		d.errorf(path, "not supported by this version")
	default:
		d.errorf(path, "unknown key %q%s", name, hint.For(name, m.keys()))
	}
}

// asksNothing reports whether a value is null or an empty list: what it would be for is
// not wanted, so that it does not matter whether it is supported.
func asksNothing(n ast.Node) bool {
	if list, ok := n.(*ast.SequenceNode); ok {
		return len(list.Values) == 0
	}
	return n.Type() == ast.NullType
}

func (d *decoder) exactlyOne(key string, m mapping, given map[string]bool) {
	if len(m.oneof) == 0 {
		return
	}
	var found []string
	for _, name := range append(slices.Clone(m.oneof), m.unsupported...) {
		if _, ok := given[name]; ok {
			found = append(found, name)
		}
	}
	switch {
	case len(found) == 0:
		d.mismatch(key, "needs one of the keys %s", strings.Join(m.oneof, ", "))
	case len(found) > 1:
		d.errorf(key, "has %s, of which only one may be there", strings.Join(found, " and "))
	}
}

func (d *decoder) table(key string, n ast.Node, v reflect.Value, f field) {
	entries, ok := mappingEntries(n)
	if !ok {
		d.mismatch(key, "must be a mapping of names to values, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.eachKey(key, entries, func(name, path string, value ast.Node) {
		element := reflect.New(v.Type().Elem()).Elem()
		setDefaults(element)
		d.value(path, value, element, f)
		v.SetMapIndex(reflect.ValueOf(name), element)
	})
}

func (d *decoder) list(key string, n ast.Node, v reflect.Value, f field) {
	nodes := []ast.Node{n}
	list, ok := n.(*ast.SequenceNode)
	switch {
	case ok:
		nodes = list.Values
	case !f.single:
		d.mismatch(key, "must be a list, not %s", describe(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(nodes), len(nodes)))
	for i, node := range nodes {
		path := key
		if ok {
			path = fmt.Sprintf("%s[%d]", key, i)
			d.positions.byKey[path] = d.at(firstToken(node))
		}
		setDefaults(v.Index(i))
		if node.Type() == ast.NullType {
			d.mismatch(path, "the list has an empty element")
			continue
		}
		d.value(path, node, v.Index(i), f)
	}
}

func (d *decoder) scalar(key string, n ast.Node, v reflect.Value, f field) {
	text, ok := scalarText(n)
	if !ok {
		d.mismatch(key, "must be %s, not %s", wanted(v.Type()), describe(n))
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d.duration(key, text, v)
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		node, ok := n.(*ast.BoolNode)
		if !ok {
			d.mismatch(key, "must be true or false, not %q", text)
			return
		}
		v.SetBool(node.Value)
	case reflect.Int:
		number, err := strconv.Atoi(text)
		if _, integer := n.(*ast.IntegerNode); !integer || err != nil {
			d.mismatch(key, "must be a whole number, not %q", text)
			return
		}
		v.SetInt(int64(number))
	default:
		d.word(key, text, v, f)
	}
}

func (d *decoder) duration(key, text string, v reflect.Value) {
	duration, err := certmedic.ParseDuration(text)
	if err != nil {
		d.mismatch(key, "%s", err)
		return
	}
	v.SetInt(int64(duration))
}

func (d *decoder) word(key, text string, v reflect.Value, f field) {
	switch {
	case slices.Contains(f.later, text):
		d.mismatch(key, "%q is not supported by this version", text)
	case len(f.enum) > 0 && !slices.Contains(f.enum, text):
		d.mismatch(key, "%q is none of %s%s", text, strings.Join(f.enum, ", "), hint.For(text, f.enum))
	default:
		v.SetString(text)
	}
}

func (d *decoder) at(tk *token.Token) Position {
	return Position{File: d.positions.file, Line: tk.Position.Line, Column: tk.Position.Column}
}

func setDefaults(v reflect.Value) {
	if d, ok := v.Addr().Interface().(defaulter); ok {
		d.setDefaults()
	}
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func mappingEntries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, true
	default:
		return nil, false
	}
}

// firstToken returns the token that a person would point at.
func firstToken(n ast.Node) *token.Token {
	m, ok := n.(*ast.MappingNode)
	switch {
	case ok && m.IsFlowStyle:
		return m.Start
	case ok && len(m.Values) > 0:
		return m.Values[0].Key.GetToken()
	default:
		return n.GetToken()
	}
}

// scalarText returns a scalar as it is written, so that 0600 stays 0600.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

func describe(n ast.Node) string {
	if _, ok := mappingEntries(n); ok {
		return "a mapping"
	}
	if _, ok := n.(*ast.SequenceNode); ok {
		return "a list"
	}
	text, _ := scalarText(n)
	return strconv.Quote(text)
}

func wanted(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 90s, 10m, 72h or 14d"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	default:
		return "a string"
	}
}
