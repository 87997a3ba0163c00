package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/objects"
)

const (
	largest     = 512 << 10 // bytes of an object, whose value may be encoded
	maxPages    = 200       // of a listing; a store may hand them out empty
	longestPart = 200       // bytes of a name between slashes
)

var _ objects.Store = (*store)(nil)

// store keeps objects below a prefix of a bucket.
type store struct {
	client *s3.Client
	bucket string
	prefix string // empty, or with a slash at its end
}

func (s *store) name(key string) *string { return aws.String(s.prefix + escape(key)) }

// escape leaves nothing in a key that stores differ about. Those upon a file system have bounds on the length of
// what is between slashes; an equals sign, which is escaped elsewhere, keeps the parts of long keys apart from
// whole ones. What begins a key begins it escaped too.
func escape(key string) string {
	name := strings.ReplaceAll(url.QueryEscape(key), "+", "%20")
	var parts []string
	for len(name) > longestPart {
		parts = append(parts, name[:longestPart])
		name = name[longestPart:]
	}
	return strings.Join(append(parts, name), "=/")
}

func unescape(name string) (string, error) {
	return url.QueryUnescape(strings.ReplaceAll(name, "=/", ""))
}

// Get implements [objects.Store].
func (s *store) Get(ctx context.Context, key string) (objects.Object, bool, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if code(err) == "NoSuchKey" {
		now, err := dateOf(err)
		return objects.Object{Now: now}, false, err
	}
	if err != nil {
		return objects.Object{}, false, fmt.Errorf("reading %q: %w", key, err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(io.LimitReader(out.Body, largest+1))
	if err != nil {
		return objects.Object{}, false, fmt.Errorf("reading %q: %w", key, err)
	}
	_, value, ok := bytes.Cut(data, []byte("\n"))
	now, dated := middleware.GetServerTime(out.ResultMetadata)
	o := objects.Object{Value: value, Tag: aws.ToString(out.ETag), Modified: aws.ToTime(out.LastModified), Now: now}
	switch {
	case len(data) > largest:
		err = fmt.Errorf("reading %q: it has more than %d bytes", key, largest)
	case !ok:
		err = fmt.Errorf("reading %q: it is nothing of ours", key)
	case o.Tag == "" || !dated || o.Modified.IsZero():
		err = fmt.Errorf("reading %q: the answer has no ETag, no Date, or no Last-Modified", key)
	}
	return o, err == nil, err
}

// Swap implements [objects.Store]. A line of its own makes each write another one, as stores derive
// the ETag from what is written: the tag of a lease that was renewed would come again.
func (s *store) Swap(ctx context.Context, key, tag string, value []byte) (string, error) {
	in := &s3.PutObjectInput{Bucket: &s.bucket, Key: s.name(key), Body: bytes.NewReader(append([]byte(rand.Text()+"\n"), value...))}
	if tag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &tag
	}
	out, err := s.client.PutObject(ctx, in)
	switch status := statusOf(err); {
	case status == http.StatusPreconditionFailed, status == http.StatusConflict, code(err) == "NoSuchKey":
		return "", coord.ErrStale
	case err != nil:
		return "", fmt.Errorf("writing %q: %w", key, err)
	case aws.ToString(out.ETag) == "":
		return "", fmt.Errorf("writing %q: the answer has no ETag", key)
	}
	return *out.ETag, nil
}

// List implements [objects.Store].
func (s *store) List(ctx context.Context, prefix string) ([]string, error) {
	start := s.prefix + escape(prefix)
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: &start})
	var keys []string
	for range maxPages {
		if !pages.HasMorePages() {
			return keys, nil
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("listing %q: %w", prefix, err)
		}
		for _, o := range page.Contents {
			key, err := unescape(strings.TrimPrefix(aws.ToString(o.Key), s.prefix))
			if err == nil && strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
	}
	return nil, fmt.Errorf("listing %q: there are more than %d pages", prefix, maxPages)
}

func (s *store) remove(ctx context.Context, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if code(err) == "NoSuchKey" {
		return nil
	}
	return err
}

// dateOf returns the store's time from the answer that an error is about.
func dateOf(err error) (time.Time, error) {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return time.Time{}, errors.New("the answer has no Date")
	}
	now, err := http.ParseTime(answer.Response.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("the answer has no Date: %w", err)
	}
	return now, nil
}

func statusOf(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}
