// Package acmd is AWS Certificate Manager as far as certmedic asks it, for tests: the real one
// cannot be had in a laboratory.
//
// It is strict rather than complete. It holds these rules, after the reference of ACM's API and the
// guide on importing certificates (docs.aws.amazon.com/acm), and remembers every breach of the first
// ones as a complaint:
//
//   - A request is POST / with the content type application/x-amz-json-1.1 and a target
//     CertificateManager.OPERATION, signed for its region and the service acm (Signature Version 4) by
//     the only credentials that there are. The signature is computed again and compared.
//   - What is imported is one certificate, its unencrypted key of at most 5120 bytes, and a chain
//     without the certificate; all are PEM, and dates and key are right.
//   - Tags are given to a new certificate alone; what is imported again keeps its own.
//   - What is imported again is there, was imported, and has a key of the same type.
//   - Lists hold certificates with RSA keys of at most 2048 bits where nobody asks for more, and come
//     in pages.
package acmd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Region is the only one that there is, and Account whose certificates there are.
const (
	Region  = "eu-central-1"
	Account = "123456789012"
)

// Credentials is a file of the only credentials that are taken, in AWS's form.
const Credentials = "[default]\naws_access_key_id = " + keyID + "\naws_secret_access_key = " + secret + "\n"

const (
	keyID    = "AKIDCERTMEDICTEST"
	secret   = "not/a/secret/of/anybody"
	pageSize = 2
	maxBody  = 4 << 20
)

// Certificate is one that is there.
type Certificate struct {
	ARN       string
	Type      string // IMPORTED or AMAZON_ISSUED
	Leaf      []byte // PEM
	Chain     []byte // PEM
	Tags      map[string]string
	InUseBy   []string
	Imports   int
	Retouched bool // its tags were changed after it was imported
}

// Server is a manager of certificates. It is an [http.Handler].
type Server struct {
	// Behave, where it is set, may answer in its place, or end the request otherwise. It is told the
	// operation, and how often that was asked before.
	Behave func(w http.ResponseWriter, operation string, before int) (answered bool)

	mu         sync.Mutex
	all        []*Certificate
	asked      map[string]int
	complaints []string
}

// Add puts a certificate there, and returns its ARN.
func (s *Server) Add(c Certificate) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addLocked(&c).ARN
}

func (s *Server) addLocked(c *Certificate) *Certificate {
	c.ARN = fmt.Sprintf("arn:aws:acm:%s:%s:certificate/%08d-0000-4000-8000-000000000000", Region, Account, len(s.all)+1)
	s.all = append(s.all, c)
	return c
}

// Certificates returns what is there.
func (s *Server) Certificates() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Certificate, 0, len(s.all))
	for _, c := range s.all {
		all = append(all, *c)
	}
	return all
}

// Asked returns how often an operation was asked for.
func (s *Server) Asked(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[operation]
}

// Complaints returns the breaches of the rules for requests.
func (s *Server) Complaints() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.complaints)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client is gone
	}
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "CertificateManager.")
	s.mu.Lock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	before := s.asked[operation]
	s.asked[operation]++
	if why := wrong(r, body); why != "" || !ok {
		s.complaints = append(s.complaints, fmt.Sprintf("%s: %s", operation, why))
		s.mu.Unlock()
		Refuse(w, http.StatusForbidden, "IncompleteSignature", why)
		return
	}
	s.mu.Unlock()
	if s.Behave != nil && s.Behave(w, operation, before) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	answer, failure := s.answerLocked(operation, body)
	if failure != nil {
		Refuse(w, http.StatusBadRequest, failure.code, failure.message)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

// Refuse answers with an error.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message}) // the client may be gone
}

// wrong says what is wrong with the form of a request, or with its signature.
func wrong(r *http.Request, body []byte) string {
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return r.Method + " " + r.URL.Path
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1":
		return "its content type is " + r.Header.Get("Content-Type")
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		return "its date is " + r.Header.Get("X-Amz-Date")
	}
	given := r.Header.Get("Authorization")
	again := r.Clone(context.Background())
	again.URL.Scheme, again.URL.Host = "http", r.Host
	_, signed, _ := strings.Cut(given, "SignedHeaders=")
	signed, _, _ = strings.Cut(signed, ",")
	for name := range again.Header {
		if !slices.Contains(strings.Split(signed, ";"), strings.ToLower(name)) {
			again.Header.Del(name)
		}
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, again, hex.EncodeToString(sum[:]), "acm", Region, at); err != nil {
		return err.Error()
	}
	if again.Header.Get("Authorization") != given {
		return "it is not signed by the credentials, for the region and the service"
	}
	return ""
}

type refusal struct{ code, message string }

func refuse(code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

type tag struct{ Key, Value string }

type input struct {
	CertificateArn, NextToken                 string
	Certificate, CertificateChain, PrivateKey []byte
	Tags                                      []tag
	Includes                                  struct{ KeyTypes []string }
}

func (s *Server) answerLocked(operation string, body []byte) (any, *refusal) {
	var in input
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, refuse("SerializationException", "%s", err)
	}
	switch operation {
	case "ListCertificates":
		return s.listLocked(in)
	case "ImportCertificate":
		return s.importLocked(in)
	}
	at := slices.IndexFunc(s.all, func(c *Certificate) bool { return c.ARN == in.CertificateArn })
	if at < 0 {
		return nil, refuse("ResourceNotFoundException", "Could not find certificate %s.", in.CertificateArn)
	}
	c := s.all[at]
	switch operation {
	case "DescribeCertificate":
		return map[string]any{"Certificate": c.describe()}, nil
	case "GetCertificate":
		return map[string]string{"Certificate": string(c.Leaf), "CertificateChain": string(c.Chain)}, nil
	case "ListTagsForCertificate":
		tags := []tag{}
		for key, value := range c.Tags {
			tags = append(tags, tag{key, value})
		}
		return map[string]any{"Tags": tags}, nil
	case "AddTagsToCertificate":
		c.Retouched = true
		c.tag(in.Tags)
		return map[string]any{}, nil
	}
	return nil, refuse("UnknownOperationException", "%s", operation)
}

func (c *Certificate) tag(tags []tag) {
	if c.Tags == nil {
		c.Tags = map[string]string{}
	}
	for _, t := range tags {
		c.Tags[t.Key] = t.Value
	}
}

// listLocked hands out a page of what has keys of the types that are asked for.
func (s *Server) listLocked(in input) (any, *refusal) {
	types := in.Includes.KeyTypes
	if len(types) == 0 {
		types = []string{"RSA_1024", "RSA_2048"}
	}
	first := 0
	if in.NextToken != "" {
		var err error
		if first, err = strconv.Atoi(in.NextToken); err != nil || first >= len(s.all) {
			return nil, refuse("ValidationException", "The token %q is not valid.", in.NextToken)
		}
	}
	some, next := []map[string]any{}, ""
	for i, c := range s.all[first:] {
		if len(some) == pageSize {
			next = strconv.Itoa(first + i)
			break
		}
		if leaf := c.leaf(); slices.Contains(types, keyType(leaf)) {
			some = append(some, map[string]any{"CertificateArn": c.ARN, "Type": c.Type, "DomainName": leaf.DNSNames[0]})
		}
	}
	answer := map[string]any{"CertificateSummaryList": some}
	if next != "" {
		answer["NextToken"] = next
	}
	return answer, nil
}

func (s *Server) importLocked(in input) (any, *refusal) {
	leaf, failure := imported(in)
	if failure != nil {
		return nil, failure
	}
	var c *Certificate
	if in.CertificateArn == "" {
		c = s.addLocked(&Certificate{Type: "IMPORTED"})
		c.tag(in.Tags)
	} else {
		at := slices.IndexFunc(s.all, func(c *Certificate) bool { return c.ARN == in.CertificateArn })
		switch {
		case at < 0:
			return nil, refuse("ResourceNotFoundException", "Could not find certificate %s.", in.CertificateArn)
		case len(in.Tags) > 0:
			return nil, refuse("ValidationException", "Tagging is not permitted on re-import.")
		case s.all[at].Type != "IMPORTED":
			return nil, refuse("ValidationException", "Certificate %s was not imported.", in.CertificateArn)
		case keyType(s.all[at].leaf()) != keyType(leaf):
			return nil, refuse("ValidationException", "The key type or size of the certificate cannot be changed.")
		}
		c = s.all[at]
	}
	c.Leaf, c.Chain = in.Certificate, in.CertificateChain
	c.Imports++
	return map[string]string{"CertificateArn": c.ARN}, nil
}

// imported checks what is to be imported.
func imported(in input) (*x509.Certificate, *refusal) {
	block, rest := pem.Decode(in.Certificate)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, refuse("ValidationException", "The certificate field contains more than one certificate, or none.")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, refuse("ValidationException", "The certificate is not valid.")
	}
	_, errPair := tls.X509KeyPair(in.Certificate, in.PrivateKey)
	now := time.Now()
	switch {
	case len(in.Certificate) > 32768 || len(in.PrivateKey) > 5120 || len(in.CertificateChain) > 2<<20:
		return nil, refuse("ValidationException", "A member must have a length less than or equal to its limit.")
	case errPair != nil:
		return nil, refuse("ValidationException", "The private key does not match the certificate.")
	case now.Before(leaf.NotBefore) || now.After(leaf.NotAfter):
		return nil, refuse("ValidationException", "The certificate is not valid at this time.")
	case keyType(leaf) == "":
		return nil, refuse("ValidationException", "The private key is not supported.")
	case bytes.Contains(in.CertificateChain, bytes.TrimSpace(in.Certificate)):
		return nil, refuse("ValidationException", "The certificate chain contains the certificate.")
	}
	return leaf, nil
}

func (c *Certificate) leaf() *x509.Certificate {
	block, _ := pem.Decode(c.Leaf)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(err) // it was parsed before it was kept
	}
	return leaf
}

func (c *Certificate) describe() map[string]any {
	leaf := c.leaf()
	var serial []string
	for _, b := range leaf.SerialNumber.Bytes() {
		serial = append(serial, fmt.Sprintf("%02x", b))
	}
	return map[string]any{
		"CertificateArn": c.ARN, "Type": c.Type, "Status": "ISSUED", "Serial": strings.Join(serial, ":"),
		"NotAfter": float64(leaf.NotAfter.Unix()), "KeyAlgorithm": strings.Replace(keyType(leaf), "_", "-", 1), "InUseBy": c.InUseBy,
		"DomainName": leaf.DNSNames[0],
	}
}

// keyType names a key as ACM does; empty: it is of none that ACM takes.
func keyType(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA_%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return map[int]string{256: "EC_prime256v1", 384: "EC_secp384r1", 521: "EC_secp521r1"}[key.Params().BitSize]
	}
	return ""
}
