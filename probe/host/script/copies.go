package script

import (
	"regexp"
	"slices"
	"strings"
)

// aboutCertificate matches words that have to do with certificates.
var aboutCertificate = regexp.MustCompile(`(?i)RENEWED_LINEAGE|letsencrypt|/live/|privkey|fullchain|chain|cert|\.(?:pem|crt|cer|key|p12|pfx|jks)\b|/(?:ssl|tls)\b`)

// copied is a copy with what a lint has to know of it.
type copied struct {
	Copy
	*call
	options []string
}

// copyOf returns what a command copies; false where that is no certificate.
func copyOf(c *call) (copied, bool) {
	m := copied{call: c, Copy: Copy{Verb: c.name(), Line: c.line, Text: c.text}}
	words := c.argv[1:]
	switch m.Verb {
	case "cp", "mv":
		m.ends(words, copyValues)
	case "install":
		m.ends(words, installValues)
	case "rsync":
		m.ends(words, rsyncValues)
	case "scp", "sftp":
		m.ends(words, scpValues)
	case "cat":
		m.From, m.options = operands(words, "")
		m.To = strings.Join(c.outs, " ")
	case "tee":
		plain, _ := operands(words, "")
		m.To = strings.Join(plain, " ")
	case "openssl":
		m.openssl(words)
	case "keytool":
		m.keytool(words)
	case "postmap":
		plain, options := operands(words, "-c")
		m.From, m.To, m.options = plain, strings.Join(plain, " "), options
	default:
		return m, false
	}
	if m.To == "" {
		return m, false
	}
	return m, m.Verb == "postmap" || m.Verb == "keytool" || aboutCertificate.MatchString(strings.Join(m.From, " ")+" "+m.To)
}

// ends takes the last operand for the destination, or the value of -t.
func (m *copied) ends(words []string, values string) {
	plain, options := operands(words, values)
	m.options = options
	for i, option := range options {
		name, value, ok := strings.Cut(option, "=")
		switch {
		case ok && name == "--target-directory":
			m.From, m.To = plain, value
			return
		case (option == "-t" || option == "--target-directory") && i+1 < len(options) && m.Verb != "rsync":
			m.From, m.To = plain, options[i+1]
			return
		}
	}
	if len(plain) >= 2 {
		m.From, m.To = plain[:len(plain)-1], plain[len(plain)-1]
	}
}

// after returns the word behind an option; empty where there is none.
func after(words []string, option string) string {
	if i := slices.Index(words, option); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

func (m *copied) openssl(words []string) {
	if len(words) == 0 || !slices.Contains([]string{"pkcs12", "pkcs8", "rsa", "ec", "pkey", "x509"}, words[0]) {
		return
	}
	m.Verb = "openssl " + words[0]
	m.options = words[1:]
	for _, option := range []string{"-in", "-inkey", "-certfile"} {
		if file := after(words, option); file != "" {
			m.From = append(m.From, file)
		}
	}
	m.To = after(words, "-out")
	if m.To == "" {
		m.To = strings.Join(m.outs, " ")
	}
}

func (m *copied) keytool(words []string) {
	m.options = words
	for _, option := range []string{"-srckeystore", "-file"} {
		if file := after(words, option); file != "" {
			m.From = append(m.From, file)
		}
	}
	if len(m.From) == 0 {
		return
	}
	if m.To = after(words, "-destkeystore"); m.To == "" {
		m.To = after(words, "-keystore")
	}
}

func (r *reading) copies() []copied {
	var all []copied
	for _, c := range r.calls {
		if len(c.argv) == 0 {
			continue
		}
		if m, ok := copyOf(c); ok {
			all = append(all, m)
		}
	}
	return all
}

// tell gathers what is told of a script that was walked through.
func (s *Script) tell(r *reading) {
	for _, c := range r.calls {
		s.Commands = append(s.Commands, Command{Argv: c.argv, Host: c.host, Guard: c.guard, Quiet: c.quiet, Line: c.line, Text: c.text})
	}
	s.programs(r)
	s.missing(r.e)
	s.reloads(r)
	copies := r.copies()
	for _, m := range copies {
		s.Copies = append(s.Copies, m.Copy)
	}
	s.lint(r, copies)
}
