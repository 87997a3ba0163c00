// Package openapi describes the API of certmedic as an OpenAPI 3.0 document, for programs that are
// not certmedic's own commands. The web server serves it.
//
// The document is made from the types of package api and the table of operations in its test, which
// also holds it against what the server has; openapitest holds answers against it.
package openapi

import _ "embed"

//go:embed openapi.json
var document []byte

// Document returns the document, as JSON.
func Document() []byte { return document }
