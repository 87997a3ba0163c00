// Package openapitest holds answers of the API against its OpenAPI document. Tests of whatever
// answers call it.
package openapitest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/certmedic/certmedic/internal/api/openapi"
)

// Answer fails the test unless the document has the operation, and its answer the form that the
// document says. The target is a path, with its query.
func Answer(t testing.TB, method, target string, code int, body []byte) {
	t.Helper()
	request, err := http.NewRequest(method, "http://certmedic"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	route, params, err := router(t).FindRoute(request)
	if err != nil {
		t.Errorf("%s %s: %v", method, target, err)
		return
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: params, Route: route},
		Status:                 code, Header: http.Header{"Content-Type": {"application/json"}},
		Body:    io.NopCloser(strings.NewReader(string(body))),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s %s: %v", method, target, err)
	}
}

func router(t testing.TB) routers.Router {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document())
	if err != nil {
		t.Fatal(err)
	}
	made, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return made
}
