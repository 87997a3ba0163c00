package sd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how many brackets or dashes may stand within each other. Two are needed.
const maxDepth = 20

// ParseFile reads a file in the form of file_sd: JSON where its name ends in .json, else
// YAML without anchors and aliases. Errors begin with the name and, where it is known, the
// line.
func ParseFile(name string, data []byte) ([]Group, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var groups []Group
	line, err := 0, errTooLarge
	switch {
	case len(data) > maxSize:
	case strings.HasSuffix(name, ".json"):
		groups, line, err = parseJSON(data)
	default:
		groups, line, err = parseYAML(data)
	}
	if err == nil {
		err = check(groups)
	}
	switch {
	case err == nil:
		return groups, nil
	case line > 0:
		return nil, fmt.Errorf("%s:%d: %w", name, line, err)
	default:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
}

// parseJSON returns the line of the mistake where there is one.
func parseJSON(data []byte) ([]Group, int, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var groups []Group
	err := decoder.Decode(&groups)
	at := decoder.InputOffset()
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.Is(err, io.ErrUnexpectedEOF):
		at = int64(len(data))
	case errors.As(err, &mistyped):
		at, err = mistyped.Offset, fmt.Errorf("%q must be %s, not %s", mistyped.Field, described(mistyped.Type.Kind().String()), mistyped.Value)
	case err == nil:
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return nil, lineAt(data, decoder.InputOffset()), errors.New("there is more behind the list of groups")
		}
		return groups, 0, nil
	case errors.Is(err, io.EOF):
		return nil, 1, errors.New("there is no list of groups")
	}
	return nil, lineAt(data, at), err
}

// described names a kind of Go as one of JSON.
func described(kind string) string {
	switch kind {
	case "slice":
		return "a list"
	case "map", "struct":
		return "an object"
	default:
		return "a " + kind
	}
}

func lineAt(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int64(len(data)), max(0, offset))], []byte("\n"))
}

// tooDeep reports whether too much is nested: what the decoder needs for that grows faster
// than its depth.
func tooDeep(data []byte) bool {
	brackets, dashes := 0, 0
	for _, c := range data {
		switch c {
		case '[', '{':
			brackets++
		case ']', '}':
			brackets = max(0, brackets-1)
		case '-', '?':
			dashes++
		case ' ', '\t':
			continue
		default:
			dashes = 0
		}
		if brackets > maxDepth || dashes > 4*maxDepth {
			return true
		}
	}
	return false
}
