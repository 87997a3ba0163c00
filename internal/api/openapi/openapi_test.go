package openapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/certmedic/certmedic/internal/api/openapi"
	"github.com/certmedic/certmedic/internal/api/openapi/openapitest"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// TestDocument holds the document against the types and the operations.
func TestDocument(t *testing.T) {
	made, err := document()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", made, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(made, openapi.Document()) {
		t.Error("openapi.json is not what the types say: go test ./internal/api/openapi -update")
	}
	loaded, err := openapi3.NewLoader().LoadFromData(openapi.Document())
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Validate(context.Background()); err != nil {
		t.Error(err)
	}
}

// theirs are the routes whose form is that of other services, which are in docs/webhooks.md, and that
// of the document itself.
var theirs = map[string]bool{
	"GET /api/v1/openapi.json": true, "POST /api/v1/slack/interactions": true, "POST /api/v1/pagerduty/webhook": true,
}

// TestRoutes holds the operations against the routes that the server registers, by its source.
func TestRoutes(t *testing.T) {
	served := map[string]bool{}
	files, err := os.ReadDir("../../web")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.IsDir() || !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		source, err := os.ReadFile("../../web/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"((?:GET|POST|DELETE|PUT) /api/v1/[^"]*)"`).FindAllSubmatch(source, -1) {
			if !theirs[string(m[1])] {
				served[string(m[1])] = true
			}
		}
	}
	described := map[string]bool{}
	for _, o := range operations {
		described[o.method+" "+o.path] = true
	}
	if len(served) < 20 {
		t.Fatalf("only %d routes were found", len(served))
	}
	if !maps.Equal(served, described) {
		t.Errorf("served\n%s\ndescribed\n%s", strings.Join(slices.Sorted(maps.Keys(served)), "\n"), strings.Join(slices.Sorted(maps.Keys(described)), "\n"))
	}
}

// TestAnswers holds the schemas against what encoding/json writes of the types, with everything
// in them.
func TestAnswers(t *testing.T) {
	for _, o := range operations {
		if o.media() != "application/json" {
			continue
		}
		value := reflect.New(o.response).Elem()
		fill(value, 0)
		body, err := json.Marshal(value.Interface())
		if err != nil {
			t.Fatal(err)
		}
		openapitest.Answer(t, o.method, o.path, http.StatusOK, body)
	}
}

// fill gives every field a value that is not its zero.
func fill(v reflect.Value, depth int) {
	if t, ok := v.Addr().Interface().(*time.Time); ok {
		*t = time.Unix(1_700_000_000, 0).UTC()
		return
	}
	if raw, ok := v.Addr().Interface().(*json.RawMessage); ok {
		*raw = json.RawMessage(`{"a":1}`)
		return
	}
	if words := enums[v.Type()]; words != nil {
		v.SetString(words[0].(string))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for f, field := range v.Fields() {
			if f.IsExported() || f.Anonymous {
				fill(field, depth)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth+1)
		fill(value, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString("word")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	}
}

// document makes the document.
func document() ([]byte, error) {
	s := newSchemas()
	problem := s.content("Why it was not done.", s.of(problemType))
	doc := &openapi3.T{
		OpenAPI: "3.0.3",
		Info: &openapi3.Info{
			Title: "certmedic", Version: "v1",
			Description: "What certmedic knows, and what it can be asked for. Reading is open on every listener, without what commands wrote. " +
				"What changes something needs a login and the same origin, where it is offered on a listener at all; the socket of the commands, STATE_DIR/certmedic.sock, has everything. Times are RFC 3339, durations nanoseconds, hashes lower-case hex.",
			License: &openapi3.License{Name: "Apache-2.0"},
		},
		Paths: openapi3.NewPaths(),
	}
	for _, o := range operations {
		made := &openapi3.Operation{
			OperationID: o.id, Summary: o.summary, Description: o.about(), Tags: []string{o.tag()},
			Responses: openapi3.NewResponses(openapi3.WithStatus(http.StatusOK, s.answer(o)), openapi3.WithName("default", problem.Value)),
		}
		for _, p := range o.params {
			made.Parameters = append(made.Parameters, &openapi3.ParameterRef{Value: p.made()})
		}
		if o.request != nil {
			made.RequestBody = &openapi3.RequestBodyRef{Value: openapi3.NewRequestBody().WithRequired(true).WithContent(openapi3.NewContentWithJSONSchemaRef(s.of(o.request)))}
		}
		item := doc.Paths.Value(o.path)
		if item == nil {
			item = &openapi3.PathItem{}
			doc.Paths.Set(o.path, item)
		}
		item.SetOperation(o.method, made)
	}
	doc.Components = &openapi3.Components{Schemas: s.components}
	if s.err != nil {
		return nil, s.err
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	return append(data, '\n'), err
}
