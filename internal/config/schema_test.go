package config_test

import (
	"encoding/json"
	"testing"

	"github.com/certmedic/certmedic/internal/config"
)

func TestSchemaIsStrictAndDescribed(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	if err := json.Unmarshal(config.Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	if schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", schema["$schema"])
	}
	if n := checkSchema(t, "", schema); n < 100 {
		t.Errorf("the schema has %d keys, fewer than the configuration", n)
	}
}

// checkSchema walks every mapping of the schema and returns how many keys there are.
func checkSchema(t *testing.T, path string, schema map[string]any) int {
	t.Helper()
	keys := 0
	properties, mapping := schema["properties"].(map[string]any)
	if mapping && schema["additionalProperties"] != false {
		t.Errorf("%s takes unknown keys", path)
	}
	for key, property := range properties {
		below := property.(map[string]any)
		if below["description"] == nil {
			t.Errorf("%s.%s has no description", path, key)
		}
		keys += 1 + checkSchema(t, path+"."+key, below)
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if below, ok := schema[inner].(map[string]any); ok {
			keys += checkSchema(t, path+"[]", below)
		}
	}
	return keys
}
