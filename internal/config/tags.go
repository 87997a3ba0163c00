package config

import (
	"reflect"
	"slices"
	"strings"
)

// mapping is what the tags of a struct say about its form in YAML.
type mapping struct {
	fields      []field
	oneof       []string          // exactly one of these keys must be there
	unsupported []string          // known, refused by this version
	ignored     map[string]string // known, not acted on by this version: key to note
}

// field is one key of a mapping.
type field struct {
	index    int
	key      string
	doc      string
	form     string
	required bool
	single   bool
	enum     []string
	later    []string
}

func mappingOf(t reflect.Type) mapping {
	m := mapping{ignored: map[string]string{}}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == "_" {
			m.oneof = append(m.oneof, strings.Fields(f.Tag.Get("oneof"))...)
			m.unsupported = append(m.unsupported, strings.Fields(f.Tag.Get("unsupported"))...)
			for _, key := range strings.Fields(f.Tag.Get("ignored")) {
				m.ignored[key] = f.Tag.Get("note")
			}
			continue
		}
		if f.IsExported() {
			m.fields = append(m.fields, fieldOf(i, f.Tag))
		}
	}
	return m
}

func fieldOf(index int, tag reflect.StructTag) field {
	key, _, _ := strings.Cut(tag.Get("yaml"), ",")
	return field{
		index:    index,
		key:      key,
		doc:      tag.Get("doc"),
		form:     tag.Get("form"),
		required: tag.Get("required") == "true",
		single:   tag.Get("single") == "true",
		enum:     words(tag.Get("enum")),
		later:    words(tag.Get("later")),
	}
}

// words splits a tag into its words, and expands the list of protocols.
func words(tag string) []string {
	if tag == "@protocols" {
		return protocols()
	}
	return strings.Fields(tag)
}

func (m mapping) field(key string) (field, bool) {
	i := slices.IndexFunc(m.fields, func(f field) bool { return f.key == key })
	if i < 0 {
		return field{}, false
	}
	return m.fields[i], true
}

// keys returns every key that can be meant, for hints.
func (m mapping) keys() []string {
	var keys []string
	for _, f := range m.fields {
		keys = append(keys, f.key)
	}
	for key := range m.ignored {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
