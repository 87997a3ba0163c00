package deploy_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// unhashed are the fields that do not change the hash of a plan: what it costs, remarks, certmedic's
// own environment, and what follows from other fields.
var unhashed = []string{"Plan.Notes", "Plan.Cost", "Plan.Hash", "Plan.Locks", "Elsewhere.Destination", "Command.Env", "Command.Own"}

func whole() deploy.Plan {
	return deploy.Plan{
		Files: []deploy.File{
			{InstalledFile: certmedic.InstalledFile{From: certmedic.PartFullchain, To: "/etc/ssl/a.pem"}, SHA256: "aa"},
			{InstalledFile: certmedic.InstalledFile{From: certmedic.PartPrivkey, To: "/etc/ssl/a.key"}, SHA256: "bb"},
		},
		Commands: []deploy.Command{
			{Name: "web: test", Phase: deploy.PhaseTest, Argv: []string{"nginx", "-t"}},
			{Name: "web: reload", Phase: deploy.PhaseReload, Argv: []string{"systemctl", "reload", "nginx"}},
		},
		Elsewhere: []deploy.Elsewhere{{
			Name: "web", Hosts: []string{"web1"}, Files: []deploy.File{{SHA256: "cc"}},
			Commands: []deploy.Remote{{Name: "web: test", Phase: deploy.PhaseTest, Argv: []string{"nginx", "-t"}}},
		}},
	}
}

func sealed(t *testing.T, p deploy.Plan) string {
	t.Helper()
	if err := p.Seal(); err != nil {
		t.Fatal(err)
	}
	return p.Hash
}

// TestEveryFieldChangesTheHash changes each field of a plan, of its files and of its commands, one at a
// time, also those that are added to these types later.
func TestEveryFieldChangesTheHash(t *testing.T) {
	first := sealed(t, whole())
	if len(first) != 64 || first != sealed(t, whole()) {
		t.Fatalf("the hash is %q, and then %q", first, sealed(t, whole()))
	}
	seen := 0
	each(reflect.TypeFor[deploy.Plan](), "Plan", func(name string, index []int) {
		p := whole()
		change(t, reflect.ValueOf(&p).Elem().FieldByIndex(index))
		seen++
		check(t, name, sealed(t, p) != first)
	})
	each(reflect.TypeFor[deploy.File](), "File", func(name string, index []int) {
		p := whole()
		change(t, reflect.ValueOf(&p.Files[1]).Elem().FieldByIndex(index))
		seen++
		check(t, name, sealed(t, p) != first)
	})
	each(reflect.TypeFor[deploy.Command](), "Command", func(name string, index []int) {
		p := whole()
		change(t, reflect.ValueOf(&p.Commands[1]).Elem().FieldByIndex(index))
		seen++
		check(t, name, sealed(t, p) != first)
	})
	each(reflect.TypeFor[deploy.Elsewhere](), "Elsewhere", func(name string, index []int) {
		p := whole()
		change(t, reflect.ValueOf(&p.Elsewhere[0]).Elem().FieldByIndex(index))
		seen++
		check(t, name, sealed(t, p) != first)
	})
	each(reflect.TypeFor[deploy.Remote](), "Remote", func(name string, index []int) {
		p := whole()
		change(t, reflect.ValueOf(&p.Elsewhere[0].Commands[0]).Elem().FieldByIndex(index))
		seen++
		check(t, name, sealed(t, p) != first)
	})
	if seen < 30 {
		t.Errorf("only %d fields were changed", seen)
	}
	swapped := whole()
	slices.Reverse(swapped.Commands)
	check(t, "the order of commands", sealed(t, swapped) != first)
	swapped = whole()
	slices.Reverse(swapped.Files)
	check(t, "the order of files", sealed(t, swapped) != first)
	moved := whole()
	moved.Commands[0].Request = []byte("x")
	other := whole()
	other.Commands[1].Request = []byte("x")
	check(t, "which command a request is for", sealed(t, moved) != sealed(t, other))
}

// each calls f for every exported field of a struct, those of embedded ones included.
func each(t reflect.Type, name string, f func(name string, index []int)) {
	for _, field := range reflect.VisibleFields(t) {
		if field.IsExported() && !field.Anonymous {
			f(name+"."+field.Name, field.Index)
		}
	}
}

func check(t *testing.T, name string, changes bool) {
	t.Helper()
	if want := !slices.Contains(unhashed, name); changes != want {
		t.Errorf("%s changes the hash: %t, want %t", name, changes, want)
	}
}

// change gives a field another value.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + int64(time.Second))
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Struct:
		change(t, v.Field(0))
	case reflect.Slice:
		more := reflect.New(v.Type().Elem()).Elem()
		if more.Kind() == reflect.Uint8 {
			more.SetUint(7)
		}
		v.Set(reflect.Append(v, more))
	default:
		t.Fatal(fmt.Sprint("a field of kind ", v.Kind(), ": say how to change it"))
	}
}
