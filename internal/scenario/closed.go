package scenario

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/hint"
	"github.com/certmedic/certmedic/probe/live"
)

// among returns what is wrong with a word that should be one of a closed set.
func among(at place, what, word string, set []string) error {
	if slices.Contains(set, word) {
		return nil
	}
	return at.problem("%s %q is none of %s%s", what, word, strings.Join(set, ", "), hint.For(word, set))
}

// check returns what is wrong with a certificate, but for its version.
func (f certForm) check() (problems []error) {
	if mode := f.Mode; mode.at != (place{}) {
		problems = append(problems, among(mode.at, "mode", string(mode.value), texts(certmedic.Modes())))
	}
	for _, kind := range f.Allow {
		problems = append(problems, among(kind.at, "allow:", string(kind.value), texts(certmedic.ActionKinds())))
	}
	for _, age := range f.Ages {
		if age.value <= 0 || age.value >= 2 {
			problems = append(problems, age.at.problem("an age is a share of a lifetime, such as 0.66, and not %v", age.value))
		}
	}
	if f.Stored != nil && f.Watched {
		problems = append(problems, f.Stored.at.problem("what is only watched is somebody else's: it is not stored here"))
	}
	return append(problems, checkFiles(f.Files.at, f.Files.value))
}

func texts[T ~string](all []T) []string {
	words := make([]string, 0, len(all))
	for _, one := range all {
		words = append(words, string(one))
	}
	return words
}

// check returns what is wrong with the words of an endpoint.
func (f endpointForm) check(at place) error {
	if f.Protocol.value != "" {
		var names []string
		for _, p := range live.Protocols() {
			names = append(names, p.Name)
		}
		if err := among(f.Protocol.at, "protocol", f.Protocol.value, names); err != nil {
			return err
		}
	}
	if f.TLS.value != "" {
		if err := checkTLS(f.TLS.at, f.TLS.value); err != nil {
			return err
		}
	}
	return checkCodes(at, f.Findings)
}

func checkTLS(at place, version string) error {
	return among(at, "tls", version, []string{"SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"})
}

var keyTypeForm = regexp.MustCompile(`^(rsa[1-9][0-9]{2,4}|ec(224|256|384|521)|ed25519|dsa|unknown)$`)

func checkVersion(at place, f versionForm) error {
	switch {
	case f.Lifetime.at != (place{}) && f.Lifetime.value <= 0:
		return f.Lifetime.at.problem("a lifetime is longer than nothing")
	case f.KeyType.value != "" && !keyTypeForm.MatchString(f.KeyType.value):
		return among(f.KeyType.at, "key_type", f.KeyType.value, []string{"rsa2048", "rsa3072", "rsa4096", "ec256", "ec384", "ec521", "ed25519"})
	}
	return checkCodes(at, slices.Concat(f.Findings, f.StoredFindings))
}

func checkCodes(at place, codes words) error {
	known := texts(certmedic.FindingCodes())
	for _, code := range codes {
		if !slices.Contains(known, code) {
			return at.problem("there is no finding %q%s", code, hint.For(code, known))
		}
	}
	return nil
}

func checkFiles(at place, files fileModes) error {
	for path, mode := range files {
		if bits, err := strconv.ParseUint(mode, 8, 32); err != nil || bits > 0o7777 {
			return at.problem("%s: %q are no permission bits such as 0640", path, mode)
		}
	}
	return nil
}
