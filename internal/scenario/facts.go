package scenario

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic/rules"
)

// overrides are facts that the story states, by the name of their CEL variable without its
// level, such as "loan".
type overrides map[string]override

type override struct {
	value reflect.Value
	why   string // it is undecided, and why
}

// with returns the overrides with another one, or without it where there is no value.
func (o overrides) with(name string, to *override) overrides {
	changed := overrides{}
	for n, v := range o {
		changed[n] = v
	}
	delete(changed, name)
	if to != nil {
		changed[name] = *to
	}
	return changed
}

func (o overrides) certificate(c *rules.CertificateFacts) {
	o.apply("certificate.", reflect.ValueOf(c).Elem(), c.Undecided)
	for name := range o {
		delete(c.Incomplete, "certificate."+name)
	}
}

func (o overrides) endpoint(e *rules.EndpointFacts) {
	o.apply("endpoint.", reflect.ValueOf(e).Elem(), e.Undecided)
}

func (o overrides) fleet(f *rules.FleetFacts) {
	o.apply("fleet.", reflect.ValueOf(f).Elem(), f.Undecided)
}

func (o overrides) apply(level string, facts reflect.Value, undecided rules.Undecided) {
	for name, to := range o {
		delete(undecided, level+name)
		if to.why != "" {
			undecided[level+name] = to.why
			continue
		}
		field, _ := fieldOf(facts.Type(), name)
		facts.FieldByIndex(field.Index).Set(to.value)
	}
}

// fieldOf returns the field of a variable: RemainingRatio is that of remaining_ratio.
func fieldOf(t reflect.Type, variable string) (reflect.StructField, bool) {
	plain := strings.TrimSuffix(strings.ReplaceAll(variable, "_", ""), "256")
	if plain == "spkisha" {
		plain = "spki"
	}
	return t.FieldByNameFunc(func(name string) bool {
		return strings.EqualFold(strings.TrimSuffix(name, "256"), plain) && !slices.Contains([]string{"Undecided", "Incomplete", "Support"}, name)
	})
}

// overriding reads a fact of a kind (the type of its level's facts) that the story states.
func overriding(t reflect.Type, r row[raw]) (*override, error) {
	field, ok := fieldOf(t, r.key)
	if !ok || field.Type.Kind() == reflect.Struct {
		return nil, r.at.problem("there is no fact %q here", r.key)
	}
	if r.null {
		return nil, nil
	}
	if m, ok := r.value.node.(ast.MapNode); ok && field.Type.Kind() != reflect.Map {
		var unknown struct {
			Undecided string `yaml:"undecided"`
		}
		if err := decode(m.(ast.Node), &unknown); err != nil {
			return nil, err
		}
		return &override{why: orElse(unknown.Undecided, "so the story says")}, nil
	}
	value, err := factOf(field.Type, r.value.node)
	if err != nil {
		return nil, err
	}
	return &override{value: value}, nil
}

// factOf reads a value of a fact's type.
func factOf(t reflect.Type, n ast.Node) (reflect.Value, error) {
	if t.Kind() == reflect.Pointer {
		inner, err := factOf(t.Elem(), n)
		if err != nil {
			return inner, err
		}
		p := reflect.New(t.Elem())
		p.Elem().Set(inner)
		return p, nil
	}
	p := reflect.New(t)
	if t == reflect.TypeFor[time.Duration]() {
		var s span
		err := decode(n, &s)
		p.Elem().SetInt(int64(s))
		return p.Elem(), err
	}
	return p.Elem(), decode(n, p.Interface())
}
