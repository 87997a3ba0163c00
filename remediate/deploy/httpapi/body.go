package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/netip"
	"regexp"
	"strings"
	"text/template"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// body returns what is sent, and its type.
func (c *client) body() (body []byte, contentType string, err error) {
	if c.to.Body != "" {
		text, err := fill("body", c.to.Body, c.version)
		return []byte(text), "application/json", err
	}
	if c.to.Form == certmedic.FormMultipart {
		return multiparted(c.version)
	}
	body, err = json.Marshal(c.version)
	return body, "application/json", err
}

// multiparted is the version as a form: what tells it apart as fields, its parts as files.
func multiparted(v version.Document) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, field := range [][2]string{{"name", v.Name}, {"fingerprint", v.Fingerprint}, {"not_after", v.NotAfter}} {
		err = errors.Join(err, form.WriteField(field[0], field[1]))
	}
	for _, file := range [][2]string{{"cert", v.Cert}, {"chain", v.Chain}, {"fullchain", v.Fullchain}, {"privkey", v.Privkey}} {
		part, errPart := form.CreateFormFile(file[0], file[0]+".pem")
		if errPart == nil {
			_, errPart = part.Write([]byte(file[1]))
		}
		err = errors.Join(err, errPart)
	}
	return b.Bytes(), form.FormDataContentType(), errors.Join(err, form.Close())
}

// fill fills in a template. No error of it holds what it was filled in with.
func fill(name, text string, v version.Document) (string, error) {
	parsed, err := template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"json": asJSON, "colons": colons}).Parse(text)
	if err != nil {
		return "", fmt.Errorf("parsing the template: %w", err)
	}
	var b strings.Builder
	if err := parsed.Execute(&b, v); err != nil {
		return "", fmt.Errorf("filling in the template: %w", err)
	}
	return b.String(), nil
}

// asJSON writes a value in JSON, such as a text with its quotes and its line ends as \n.
func asJSON(value any) (string, error) {
	data, err := json.Marshal(value)
	return string(data), err
}

// colons writes hex as openssl does: two digits, a colon, in upper case.
func colons(text string) string {
	var pairs []string
	for ; len(text) > 2; text = text[2:] {
		pairs = append(pairs, text[:2])
	}
	return strings.ToUpper(strings.Join(append(pairs, text), ":"))
}

// matches returns the regular expression that shows a version.
func matches(text string, v version.Document) (*regexp.Regexp, error) {
	filled, err := fill("matches", text, v)
	if err != nil {
		return nil, err
	}
	return regexp.Compile(filled)
}

// CheckBody says what is wrong with the template of a body.
func CheckBody(text string) error {
	_, err := fill("body", text, sample("a"))
	return err
}

// CheckMatches says what is wrong with the template of a regular expression that is to show a
// version. One that is the same for every version shows nothing.
func CheckMatches(text string) error {
	one, err := matches(text, sample("a"))
	if err != nil {
		return err
	}
	if other, err := matches(text, sample("b")); err != nil || one.String() == other.String() {
		return errors.New("it is the same for every version: it needs {{.Fingerprint}}, {{.SHA1}} or {{.Serial}}")
	}
	return nil
}

func sample(digit string) version.Document {
	return version.Document{
		Name: "shop", Fingerprint: strings.Repeat(digit, 64), SHA1: strings.Repeat(digit, 40), Serial: strings.Repeat(digit, 32),
		NotAfter: "2030-01-02T03:04:05Z", Names: []string{"shop.example.com"}, Cert: "CERT\n", Chain: "CHAIN\n", Fullchain: "CERT\nCHAIN\n", Privkey: "KEY\n",
	}
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}
