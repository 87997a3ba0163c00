package postfix

import (
	"maps"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// maxReferences is how many parameters one value may name, those of the values in it too.
const maxReferences = 1000

// builtIn returns the value that Postfix gives a parameter that is not set, of those that
// count here.
func builtIn(name string) string {
	switch name {
	case "smtpd_tls_key_file":
		return "$smtpd_tls_cert_file"
	case "smtpd_tls_eckey_file":
		return "$smtpd_tls_eccert_file"
	case "smtpd_tls_dkey_file":
		return "$smtpd_tls_dcert_file"
	case "inet_interfaces", "inet_protocols":
		return "all"
	case "default_database_type":
		return "hash"
	case "queue_directory":
		return "/var/spool/postfix"
	case "data_directory":
		return "/var/lib/postfix"
	case "process_id_directory":
		return "pid"
	case "mail_owner", "mail_name":
		return "postfix"
	}
	return ""
}

// values answers for parameters as one service has them.
type values struct{ params parameters }

// valuesOf returns a service's own values: those of main.cf, and its options over them.
func (p *parser) valuesOf(s service) values {
	own := maps.Clone(p.main)
	own["config_directory"] = parameter{value: p.dir}
	for _, param := range s.options {
		own[param.name] = param
	}
	return values{own}
}

// get returns a parameter's value.
func (v values) get(name string) string { return v.expand("$" + name) }

func (v values) isOn(name string) bool { return strings.EqualFold(v.get(name), "yes") }

// expand replaces $name, ${name}, $(name), ${name?text}, ${name:text} and
// ${name?{text}:{text}}. A parameter that is not known is empty; a comparison of values
// (${{a} == {b} ? ...}) stays as it is.
func (v values) expand(text string) string {
	e := expansion{values: v, left: maxReferences}
	return e.expand(text)
}

// expansion is the work on one value.
type expansion struct {
	values
	left int // references that may still be followed
}

func (e *expansion) expand(text string) string {
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(text, "$")
		out.WriteString(before)
		if !ok || e.left <= 0 || out.Len() > conf.MaxValue {
			return out.String()
		}
		e.left--
		inner, rest := reference(after)
		if after == rest || strings.HasPrefix(inner, "{") {
			out.WriteString("$" + after[:len(after)-len(rest)])
		} else {
			out.WriteString(e.refer(inner))
		}
		text = rest
	}
}

// reference cuts what follows a $: a name, or what stands within brackets.
func reference(text string) (inner, rest string) {
	switch {
	case strings.HasPrefix(text, "{"):
		if end := closing(text); end > 0 {
			return text[1:end], text[end+1:]
		}
		return "", text
	case strings.HasPrefix(text, "("):
		inner, rest, _ = strings.Cut(text[1:], ")")
		return inner, rest
	}
	end := strings.IndexFunc(text, func(r rune) bool { return !isNameRune(r) })
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

func isNameRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// refer returns what a reference stands for.
func (e *expansion) refer(inner string) string {
	at := strings.IndexAny(inner, "?:")
	if at < 0 {
		return e.value(strings.TrimSpace(inner))
	}
	name, text := strings.TrimSpace(inner[:at]), strings.TrimSpace(inner[at+1:])
	then, otherwise := "", text
	if inner[at] == '?' {
		then, otherwise = branches(text)
	}
	if e.value(name) != "" {
		return e.expand(then)
	}
	return e.expand(otherwise)
}

func (e *expansion) value(name string) string {
	if param, ok := e.params[name]; ok {
		return e.expand(param.value)
	}
	return e.expand(builtIn(name))
}

// branches splits {text}:{text}; what has no braces is one text.
func branches(text string) (then, otherwise string) {
	end := -1
	if strings.HasPrefix(text, "{") {
		end = closing(text)
	}
	if end < 0 {
		return text, ""
	}
	rest := strings.TrimLeft(text[end+1:], " \t:")
	return strings.TrimSpace(text[1:end]), strings.TrimSuffix(strings.TrimPrefix(rest, "{"), "}")
}
