package redact

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Secret stands for a setting that is not shown.
const Secret = "<secret>"

// hidden stands for a part of an address that is not shown, as in [url.URL.Redacted].
const hidden = "xxxxx"

// URL returns an address with its user, its password and the values of its query hidden.
// What cannot be read as a URL is hidden as a whole.
func URL(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" {
		return hidden // cannot be told apart from its secrets
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if u.RawQuery != "" {
		u.RawQuery = query(u.RawQuery)
	}
	return u.String()
}

// Path returns an address with its path hidden, too, where there is more than "/".
func Path(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path == "" || u.Path == "/" {
		return URL(address)
	}
	u.Path, u.RawPath = "/"+hidden, ""
	return URL(u.String())
}

// query keeps the names of parameters. One without a value may be a secret itself.
func query(raw string) string {
	parameters := strings.Split(raw, "&")
	for i, p := range parameters {
		name, value, named := strings.Cut(p, "=")
		switch {
		case named && value != "":
			parameters[i] = name + "=" + hidden
		case !named && p != "":
			parameters[i] = hidden
		}
	}
	return strings.Join(parameters, "&")
}

// Header returns the value of a header that is sent, or [Secret] unless headers of that
// name are known to hold no secrets.
func Header(name, value string) string {
	harmless := []string{"Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Type", "Host", "Origin", "Pragma", "User-Agent"}
	if value == "" || slices.Contains(harmless, http.CanonicalHeaderKey(name)) {
		return value
	}
	return Secret
}

// Setting returns [Secret] for a setting that may hold one, and nothing for none.
func Setting(value string) string {
	if value == "" {
		return ""
	}
	return Secret
}
