// Package acm imports a version into AWS Certificate Manager, from where load balancers and CDNs of
// AWS take their certificates.
//
// certmedic runs it as a step of its own ([Run]). It promises that a certificate that ACM issued
// itself is never touched, that what is there already is not imported again, that of a certificate
// that has no ARN yet no second one is made where an answer was lost, that success means that ACM
// shows the version, and that the key is in no argument, output or error.
package acm

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/acm"
	"github.com/aws/aws-sdk-go-v2/service/acm/types"
	"github.com/aws/smithy-go"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/awscfg"
	"github.com/certmedic/certmedic/remediate/deploy/version"
)

// Request says what is imported where.
type Request struct {
	version.Order
	To certmedic.ACM `json:"to"`
}

// The tags by which certmedic knows what is its own: the name of the certificate, and the token under
// which it was imported last.
const (
	tagName  = "certmedic"
	tagToken = "certmedic-token"
)

const (
	patience     = 3 * time.Minute // for all of it
	oneTry       = 30 * time.Second
	tries        = 6 // of one request: ACM lets few of them pass in a second
	longestPause = 8 * time.Second
	shown        = 30 * time.Second // until what was imported has to be shown
	firstLook    = 250 * time.Millisecond
	mostPages    = 50
	pageSize     = 1000
)

// Limits of ACM, in bytes of PEM.
const (
	maxCert  = 32768
	maxChain = 2 << 20
	maxKey   = 5120
)

// Run carries out a [Request] in JSON, and says to out where the version is and who uses it.
func Run(ctx context.Context, request []byte, out io.Writer) error {
	var q Request
	if err := json.Unmarshal(request, &q); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := q.Read()
	if err != nil {
		return err
	}
	if err := fits(v); err != nil {
		return fmt.Errorf("importing %q into ACM: %w", q.Certificate, err)
	}
	settings, err := awscfg.Load(ctx, awscfg.Options{
		Region: q.To.Region, CredentialsFile: q.To.CredentialsFile, Profile: q.To.Profile, CAFile: q.To.CAFile,
		Tries: tries, LongestPause: longestPause, Timeout: oneTry,
	})
	if err != nil {
		return fmt.Errorf("asking ACM: %w", err)
	}
	m := &manager{to: q.To, version: v, client: acm.NewFromConfig(settings, func(o *acm.Options) {
		if q.To.Endpoint != "" {
			o.BaseEndpoint = &q.To.Endpoint
		}
	})}
	told, err := m.bring(ctx)
	if err != nil {
		return fmt.Errorf("importing %q into ACM: %w", q.Certificate, err)
	}
	_, err = fmt.Fprintln(out, told)
	return err
}

// fits says what ACM would not take, in clearer words than its own.
func fits(v version.Version) error {
	if keyType(v.Leaf) == "" {
		return fmt.Errorf("ACM takes keys of RSA of 1024, 2048, 3072 or 4096 bits and of the curves P-256, P-384 and P-521, and not this %s", v.Leaf.PublicKeyAlgorithm)
	}
	for _, part := range []struct {
		part certmedic.FilePart
		most int
	}{{certmedic.PartCert, maxCert}, {certmedic.PartChain, maxChain}, {certmedic.PartPrivkey, maxKey}} {
		if n := len(v.Parts[part.part]); n > part.most {
			return fmt.Errorf("its %s has %d bytes, ACM takes at most %d", part.part, n, part.most)
		}
	}
	return nil
}

// manager is ACM in one region, asked about one version.
type manager struct {
	to      certmedic.ACM
	version version.Version
	client  *acm.Client
}

// bring has ACM hold the version, and says how it stands there.
func (m *manager) bring(ctx context.Context) (string, error) {
	arn, err := m.find(ctx)
	if err != nil {
		return "", err
	}
	did := "imported"
	if arn == "" {
		if arn, err = m.importNew(ctx); err != nil {
			return "", err
		}
	} else if did, err = m.replace(ctx, arn); err != nil {
		return "", err
	}
	told, err := m.verify(ctx, arn)
	if err != nil {
		return "", err
	}
	return did + ": " + told, nil
}

// find returns the ARN of the certificate: the configured one, or that of the certificate with our
// tag; empty where there is none yet.
func (m *manager) find(ctx context.Context) (string, error) {
	if m.to.ARN != "" {
		return m.to.ARN, nil
	}
	var found []string
	var next *string
	for page := 0; ; page++ {
		if page == mostPages {
			return "", fmt.Errorf("there are more than %d certificates: name the ARN of this one", mostPages*pageSize)
		}
		list, err := m.client.ListCertificates(ctx, &acm.ListCertificatesInput{
			NextToken: next, MaxItems: aws.Int32(pageSize),
			Includes: &types.Filters{KeyTypes: types.KeyAlgorithm("").Values()}, // else only some of them are listed
		})
		if err != nil {
			return "", fmt.Errorf("listing certificates: %w", err)
		}
		for _, summary := range list.CertificateSummaryList {
			arn := aws.ToString(summary.CertificateArn)
			if summary.Type != types.CertificateTypeImported {
				continue
			}
			tags, err := m.tags(ctx, arn)
			if err != nil {
				return "", err
			}
			if tags[tagName] == m.version.Certificate {
				found = append(found, arn)
			}
		}
		if next = list.NextToken; next == nil {
			break
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("several have the tag %s=%s: %s; name the ARN of the right one", tagName, m.version.Certificate, strings.Join(found, ", "))
}

func (m *manager) tags(ctx context.Context, arn string) (map[string]string, error) {
	list, err := m.client.ListTagsForCertificate(ctx, &acm.ListTagsForCertificateInput{CertificateArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("reading the tags of %q: %w", arn, err)
	}
	tags := map[string]string{}
	for _, t := range list.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags, nil
}

// wanted are the tags that the certificate is to have.
func (m *manager) wanted() map[string]string {
	tags := map[string]string{}
	maps.Copy(tags, m.to.Tags)
	if m.to.ARN == "" {
		tags[tagName] = m.version.Certificate
	}
	if m.version.Token > 0 {
		tags[tagToken] = strconv.FormatUint(m.version.Token, 10)
	}
	return tags
}

func tagged(tags map[string]string) []types.Tag {
	var all []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return all
}

// importNew imports a certificate that is not there yet. Where an answer was lost it may be there: it
// is looked for before the next try.
func (m *manager) importNew(ctx context.Context) (string, error) {
	once := func(o *acm.Options) { o.RetryMaxAttempts = 1 }
	for try := 1; ; try++ {
		in := m.input()
		in.Tags = tagged(m.wanted())
		out, err := m.client.ImportCertificate(ctx, in, once)
		if err == nil {
			return aws.ToString(out.CertificateArn), nil
		}
		if try == tries || ctx.Err() != nil || refused(err) {
			return "", m.explain(err, "")
		}
		if err := pause(ctx, min(longestPause, firstLook<<try)); err != nil {
			return "", err
		}
		arn, errFind := m.find(ctx)
		if errFind != nil {
			return "", errors.Join(err, errFind)
		}
		if arn != "" {
			return arn, nil
		}
	}
}

func (m *manager) input() *acm.ImportCertificateInput {
	in := &acm.ImportCertificateInput{Certificate: m.version.Parts[certmedic.PartCert], PrivateKey: m.version.Parts[certmedic.PartPrivkey]}
	if chain := m.version.Parts[certmedic.PartChain]; len(chain) > 0 {
		in.CertificateChain = chain
	}
	return in
}

// replace imports the version in place of another one, where that is not there already.
func (m *manager) replace(ctx context.Context, arn string) (did string, err error) {
	now, err := m.describe(ctx, arn)
	if err != nil {
		return "", err
	}
	if now.Type != types.CertificateTypeImported {
		return "", fmt.Errorf("%q was not imported, it is %s: ACM renews it itself", arn, now.Type)
	}
	tags, err := m.tags(ctx, arn)
	if err != nil {
		return "", err
	}
	if last, err := strconv.ParseUint(tags[tagToken], 10, 64); err == nil && m.version.Token > 0 && last > m.version.Token {
		return "", fmt.Errorf("%q was imported under token %d already, which is higher than %d: another member acts", arn, last, m.version.Token)
	}
	if wanted := m.wanted(); !has(tags, wanted) { // before the import, so that nobody with a lower token comes between
		if _, err := m.client.AddTagsToCertificate(ctx, &acm.AddTagsToCertificateInput{CertificateArn: &arn, Tags: tagged(wanted)}); err != nil {
			return "", fmt.Errorf("tagging %q: %w", arn, err)
		}
	}
	there, err := m.holds(ctx, arn)
	if err != nil {
		return "", err
	}
	if there {
		return "already there", nil
	}
	in := m.input()
	in.CertificateArn = &arn
	if _, err := m.client.ImportCertificate(ctx, in); err != nil {
		return "", m.explain(err, string(now.KeyAlgorithm))
	}
	return "imported", nil
}

func has(tags, wanted map[string]string) bool {
	for key, value := range wanted {
		if there, ok := tags[key]; !ok || there != value {
			return false
		}
	}
	return true
}

// explain adds to ACM's answer what it may be about.
func (m *manager) explain(err error, there string) error {
	here := keyType(m.version.Leaf)
	if there = strings.ReplaceAll(there, "-", "_"); there != "" && there != here {
		return fmt.Errorf("%w; the key there is %s and this one %s, and ACM does not change the type of a key: have it imported as a new certificate", err, there, here)
	}
	return err
}

func (m *manager) describe(ctx context.Context, arn string) (*types.CertificateDetail, error) {
	out, err := m.client.DescribeCertificate(ctx, &acm.DescribeCertificateInput{CertificateArn: &arn})
	if err != nil {
		return nil, fmt.Errorf("describing %q: %w", arn, err)
	}
	if out.Certificate == nil {
		return nil, fmt.Errorf("describing %q: ACM says nothing of it", arn)
	}
	return out.Certificate, nil
}

// holds reports whether leaf and chain of the version are there.
func (m *manager) holds(ctx context.Context, arn string) (bool, error) {
	out, err := m.client.GetCertificate(ctx, &acm.GetCertificateInput{CertificateArn: &arn})
	if err != nil {
		return false, fmt.Errorf("reading %q: %w", arn, err)
	}
	there := append(ders(aws.ToString(out.Certificate)), ders(aws.ToString(out.CertificateChain))...)
	return slices.EqualFunc(there, ders(string(m.version.Parts[certmedic.PartFullchain])), bytes.Equal), nil
}

func ders(text string) [][]byte {
	var all [][]byte
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Bytes)
	}
	return all
}

// verify waits until ACM shows the version, and says how.
func (m *manager) verify(ctx context.Context, arn string) (string, error) {
	deadline := time.Now().Add(shown)
	var last error
	for wait := firstLook; ; wait = min(2*wait, longestPause) {
		told, err := m.look(ctx, arn)
		if err == nil {
			return told, nil
		}
		if last == nil || ctx.Err() == nil { // else it is the end of the patience, which says less
			last = err
		}
		if time.Now().After(deadline) || pause(ctx, wait) != nil {
			return "", last
		}
	}
}

// look says how the certificate stands; an error: it is not the version.
func (m *manager) look(ctx context.Context, arn string) (string, error) {
	now, err := m.describe(ctx, arn)
	if err != nil {
		return "", err
	}
	there, err := m.holds(ctx, arn)
	leaf := m.version.Leaf
	serial := strings.ToLower(strings.ReplaceAll(aws.ToString(now.Serial), ":", ""))
	switch {
	case err != nil:
		return "", err
	case now.Status != types.CertificateStatusIssued:
		return "", fmt.Errorf("the status of %q is %s", arn, now.Status)
	case strings.TrimLeft(serial, "0") != strings.TrimLeft(hex.EncodeToString(leaf.SerialNumber.Bytes()), "0"):
		return "", fmt.Errorf("ACM shows another certificate at %q, with serial number %s", arn, serial)
	case now.NotAfter == nil || !now.NotAfter.Equal(leaf.NotAfter):
		return "", fmt.Errorf("ACM shows another certificate at %q, which ends at %s", arn, aws.ToTime(now.NotAfter).UTC().Format(time.RFC3339))
	case !there:
		return "", fmt.Errorf("ACM shows other certificates at %q than those of the version", arn)
	}
	used := "in use by nothing"
	if len(now.InUseBy) > 0 {
		used = "in use by " + strings.Join(now.InUseBy, ", ")
	}
	return fmt.Sprintf("%s holds %s until %s, %s", arn, m.version.Fingerprint().Short(), leaf.NotAfter.UTC().Format(time.RFC3339), used), nil
}

// refused reports whether ACM answered that it will not, so that asking again is of no use.
func refused(err error) bool {
	var answer *awshttp.ResponseError
	var api smithy.APIError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() >= http.StatusInternalServerError {
		return false
	}
	return errors.As(err, &api) && !slices.Contains([]string{"ThrottlingException", "Throttling", "RequestInProgressException", "ConflictException"}, api.ErrorCode())
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
