package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// Schema returns the JSON Schema (draft 2020-12) of the configuration file, for editors.
// It is as strict as the decoder about keys, and less strict about values.
func Schema() []byte {
	schema := structSchema(reflect.TypeFor[Config]())
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "certmedic.yml"
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil { // maps of strings and lists always marshal
		return []byte("{}\n")
	}
	return append(text, '\n')
}

type object = map[string]any

func structSchema(t reflect.Type) object {
	m := mappingOf(t)
	properties := object{}
	var required []string
	for _, f := range m.fields {
		property := typeSchema(t.Field(f.index).Type, f)
		property["description"] = f.doc
		if value, ok := defaultOf(t, f); ok {
			property["default"] = value
		}
		properties[f.key] = property
		if f.required {
			required = append(required, f.key)
		}
	}
	for _, key := range m.unsupported {
		properties[key] = object{"enum": []any{nil, []any{}}, "description": "Not supported by this version."}
	}
	for key, note := range m.ignored {
		properties[key] = object{"description": "Not acted on by this version; " + note + "."}
	}
	schema := object{"type": "object", "properties": properties, "additionalProperties": false}
	if required != nil {
		schema["required"] = required
	}
	if m.oneof != nil {
		schema["oneOf"] = alternatives(m.oneof)
	}
	return schema
}

func alternatives(keys []string) []any {
	var all []any
	for _, key := range keys {
		all = append(all, object{"required": []string{key}})
	}
	return all
}

func typeSchema(t reflect.Type, f field) object {
	if t == reflect.TypeFor[time.Duration]() {
		return object{"type": "string", "pattern": `^(0|([0-9.]+(ns|us|µs|ms|s|m|h))+|[0-9.]+[dw])$`}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(typeSchema(t.Elem(), f))
	case reflect.Struct:
		return structSchema(t)
	case reflect.Map:
		return object{"type": "object", "additionalProperties": typeSchema(t.Elem(), f)}
	case reflect.Slice:
		return listSchema(t, f)
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int:
		return object{"type": "integer"}
	default:
		return stringSchema(f)
	}
}

// nullable accepts "nginx:" without anything behind it, which asks for the defaults.
func nullable(schema object) object {
	if schema["type"] == "object" && schema["required"] == nil {
		schema["type"] = []string{"object", "null"}
	}
	return schema
}

func listSchema(t reflect.Type, f field) object {
	items := typeSchema(t.Elem(), f)
	list := object{"type": "array", "items": items}
	if f.single {
		return object{"oneOf": []any{items, list}}
	}
	return list
}

func stringSchema(f field) object {
	schema := object{"type": "string"}
	if f.enum != nil {
		schema["enum"] = f.enum
	}
	switch f.form {
	case "path":
		schema["pattern"] = "^/"
	case "url":
		schema["pattern"] = "^https?://"
	}
	return schema
}

// defaultOf returns the default of a key as it would be written, and whether it has one
// that is worth telling: a value that is not empty, or a switch.
func defaultOf(t reflect.Type, f field) (any, bool) {
	v := reflect.New(t).Elem()
	setDefaults(v)
	v = v.Field(f.index)
	switch {
	case v.Kind() == reflect.Bool && !f.required:
		return v.Bool(), true
	case v.IsZero(), v.Kind() == reflect.Struct:
		return nil, false
	case v.Type() == reflect.TypeFor[time.Duration]():
		return formatDuration(time.Duration(v.Int())), true
	case v.Kind() == reflect.Slice && f.single && v.Len() == 1:
		return fmt.Sprint(v.Index(0)), true
	case v.Kind() == reflect.String:
		return v.String(), true
	default:
		return v.Interface(), true
	}
}
