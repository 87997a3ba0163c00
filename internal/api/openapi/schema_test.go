package openapi_test

import (
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
)

// schemas makes schemas of types as encoding/json writes them.
type schemas struct {
	components openapi3.Schemas
	types      map[string]reflect.Type
	comments   map[string]map[string]string // type → field → its comment; of "" the type's own
	parsed     map[string]bool              // packages
	err        error
}

func newSchemas() *schemas {
	return &schemas{components: openapi3.Schemas{}, types: map[string]reflect.Type{}, comments: map[string]map[string]string{}, parsed: map[string]bool{}}
}

// enums are the closed sets.
var enums = map[reflect.Type][]any{
	of[api.ChangeKind]():          words(api.ChangeKinds()),
	of[certmedic.Mode]():          words(certmedic.Modes()),
	of[certmedic.OutcomeKind]():   words(append(certmedic.OutcomeKinds(), certmedic.OutcomeRunning, certmedic.OutcomeRehearsed)),
	of[certmedic.IncidentState](): words([]certmedic.IncidentState{certmedic.StatePending, certmedic.StateFiring, certmedic.StateResolved}),
}

func words[T ~string](all []T) []any {
	var made []any
	for _, w := range all {
		made = append(made, string(w))
	}
	return made
}

func (s *schemas) content(about string, schema *openapi3.SchemaRef) *openapi3.ResponseRef {
	return &openapi3.ResponseRef{Value: openapi3.NewResponse().WithDescription(about).WithContent(openapi3.NewContentWithJSONSchemaRef(schema))}
}

// answer is what an operation answers with.
func (s *schemas) answer(o operation) *openapi3.ResponseRef {
	made := openapi3.NewResponse().WithDescription("It was done.")
	made.Content = openapi3.NewContentWithSchemaRef(s.of(o.response), []string{o.media()})
	return &openapi3.ResponseRef{Value: made}
}

var (
	textMarshaler = of[encoding.TextMarshaler]()
	jsonMarshaler = of[json.Marshaler]()
)

// of returns the schema of a type, a reference where it is a struct with a name.
func (s *schemas) of(t reflect.Type) *openapi3.SchemaRef {
	switch {
	case t == of[time.Time]():
		return openapi3.NewSchemaRef("", openapi3.NewDateTimeSchema())
	case t == of[time.Duration]():
		made := openapi3.NewInt64Schema()
		made.Description = "Nanoseconds."
		return openapi3.NewSchemaRef("", made)
	case t == of[json.RawMessage]():
		return openapi3.NewSchemaRef("", &openapi3.Schema{Description: "Any JSON."})
	case t.Implements(jsonMarshaler), t.Implements(textMarshaler):
		return openapi3.NewSchemaRef("", openapi3.NewStringSchema())
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.named(t)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return openapi3.NewSchemaRef("", openapi3.NewBytesSchema())
		}
		list := openapi3.NewArraySchema()
		list.Items = s.of(t.Elem())
		return openapi3.NewSchemaRef("", list)
	case reflect.Map:
		object := openapi3.NewObjectSchema()
		object.AdditionalProperties = openapi3.AdditionalProperties{Schema: s.of(t.Elem())}
		return openapi3.NewSchemaRef("", object)
	}
	return openapi3.NewSchemaRef("", s.plain(t))
}

func (s *schemas) plain(t reflect.Type) *openapi3.Schema {
	switch t.Kind() {
	case reflect.String:
		made := openapi3.NewStringSchema()
		if words := enums[t]; words != nil {
			made.Enum = words
		}
		return made
	case reflect.Bool:
		return openapi3.NewBoolSchema()
	case reflect.Float32, reflect.Float64:
		return openapi3.NewFloat64Schema()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return openapi3.NewIntegerSchema()
	}
	s.err = fmt.Errorf("no schema for %v", t)
	return openapi3.NewSchema()
}

// named returns a reference to the schema of a struct.
func (s *schemas) named(t reflect.Type) *openapi3.SchemaRef {
	name := t.Name()
	if before, ok := s.types[name]; ok && before != t {
		name = strings.ToUpper(filepath.Base(t.PkgPath())[:1]) + filepath.Base(t.PkgPath())[1:] + name
	}
	ref := openapi3.NewSchemaRef("#/components/schemas/"+name, nil)
	if s.types[name] == t {
		return ref
	}
	s.types[name] = t
	made := openapi3.NewObjectSchema()
	made.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
	made.Description = s.comment(t, "")
	s.fields(t, made)
	s.components[name] = openapi3.NewSchemaRef("", made)
	return ref
}

// fields adds the fields of a struct, with those of embedded ones.
func (s *schemas) fields(t reflect.Type, into *openapi3.Schema) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			s.fields(f.Type, into)
			continue
		case name == "":
			name = f.Name
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		if !optional {
			into.Required = append(into.Required, name)
		}
		into.WithPropertyRef(name, s.described(s.of(f.Type), s.comment(t, f.Name), !optional && nilable(f.Type)))
	}
}

// described says what a field is, which of a reference has to stand around it.
func (s *schemas) described(ref *openapi3.SchemaRef, about string, null bool) *openapi3.SchemaRef {
	if about == "" && !null {
		return ref
	}
	if ref.Ref != "" {
		return openapi3.NewSchemaRef("", &openapi3.Schema{AllOf: openapi3.SchemaRefs{ref}, Description: about, Nullable: null})
	}
	if about != "" {
		ref.Value.Description = strings.TrimSpace(about + " " + ref.Value.Description)
	}
	ref.Value.Nullable = null
	return ref
}

func nilable(t reflect.Type) bool {
	return t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer
}

// comment returns what the source says about a field, or about the type where field is empty.
func (s *schemas) comment(t reflect.Type, field string) string {
	const module = "github.com/certmedic/certmedic"
	folder, ours := strings.CutPrefix(t.PkgPath(), module)
	if !ours {
		return ""
	}
	if !s.parsed[folder] {
		s.parsed[folder] = true
		s.read(t.PkgPath(), filepath.Join("..", "..", "..", filepath.FromSlash(folder)))
	}
	return s.comments[t.PkgPath()+"."+t.Name()][field]
}

// read takes the comments of a package's structs.
func (s *schemas) read(pkg, folder string) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		s.err = fmt.Errorf("no source in %q: %v", folder, err)
		return
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			s.err = err
			return
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				s.declared(pkg, g)
			}
		}
	}
}

func (s *schemas) declared(pkg string, g *ast.GenDecl) {
	for _, spec := range g.Specs {
		declared, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		shape, ok := declared.Type.(*ast.StructType)
		if !ok {
			continue
		}
		about := map[string]string{"": sentence(g.Doc.Text())}
		for _, f := range shape.Fields.List {
			for _, name := range f.Names {
				about[name.Name] = sentence(f.Doc.Text() + " " + f.Comment.Text())
			}
		}
		s.comments[pkg+"."+declared.Name.Name] = about
	}
}

// sentence makes one line of a comment.
func sentence(text string) string { return strings.Join(strings.Fields(text), " ") }
