package live

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// bounds of an answer to HTTP.
const (
	maxHeader  = 64 << 10 // bytes, interim answers included
	maxBody    = 1 << 20  // bytes that are read of it, and what of its coding fits into as many
	maxInterim = 8        // answers such as 103 before the one that counts
)

// userAgent is sent where the settings have none.
const userAgent = "certmedic"

// visit is the request that follows a handshake of https, and where redirects lead.
type visit struct {
	*attempt
	want   HTTP
	target *url.URL // of the latest request
	method string
	body   string
	facts  certmedic.HTTPFacts
}

// answer is the answer to one request.
type answer struct {
	*http.Response
	body []byte
}

// askHTTP sends the request over the connection, follows redirects and judges the last
// answer.
func (a *attempt) askHTTP(ctx context.Context, conn net.Conn) {
	var want HTTP
	if set := a.request.settings().HTTP; set != nil {
		want = *set
	}
	if a.otherALPN {
		if want.expects() {
			a.complain("the server refuses to speak HTTP/1.1, in which it would be asked; it may speak HTTP/2 alone")
		}
		return
	}
	target, err := a.request.url(cmp.Or(a.request.Path, want.Path))
	if err != nil {
		a.complain("there is nothing to ask for: %s", printable(err.Error()))
		return
	}
	v := &visit{attempt: a, want: want, target: target, method: cmp.Or(want.Method, http.MethodGet), body: want.Body}
	start := time.Now()
	last, err := v.ask(ctx, conn)
	if err == nil && a.asked && v.facts.Redirects == 0 && last.StatusCode == http.StatusBadRequest {
		a.refusedUs(nil) // nginx lets the handshake pass, and says it in HTTP
		return
	}
	if err == nil {
		v.judge(last)
		return
	}
	if a.asked && v.facts.Redirects == 0 && isRemote(err) {
		a.refusedUs(err)
		return
	}
	a.complain("%s%s", v.after(), explainHTTP(because(ctx, err), time.Since(start)))
}

// expects reports whether only some answers are fine.
func (h HTTP) expects() bool {
	return len(h.Statuses)+len(h.Match)+len(h.NotMatch)+len(h.HeaderMatch)+len(h.HeaderNotMatch) > 0
}

func (a *attempt) complain(format string, args ...any) {
	a.result.Findings = append(a.result.Findings, certmedic.NewFinding(certmedic.HTTPStatus, fmt.Sprintf(format, args...)))
}

// url is what is asked for: the path at the name that is expected of the certificate, or
// else at the host that was connected to.
func (r *Request) url(path string) (*url.URL, error) {
	host, port, err := net.SplitHostPort(r.target())
	if err != nil {
		return nil, err
	}
	host = cmp.Or(r.ServerName, host)
	if port != "443" {
		host = net.JoinHostPort(host, port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return url.Parse("https://" + host + "/" + strings.TrimPrefix(path, "/"))
}

// ask returns the last answer: that over conn, or that to which redirects lead.
func (v *visit) ask(ctx context.Context, conn net.Conn) (*answer, error) {
	last, err := v.exchange(conn, v.want.Header)
	if err != nil {
		return nil, err
	}
	v.facts.Location = last.Header.Get("Location")
	for v.facts.Redirects < v.want.Redirects && v.dialer.Redirect != nil && v.redirected(last) {
		v.facts.Redirects++
		if last, err = v.hop(ctx); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// exchange sends one request and reads its answer.
func (v *visit) exchange(conn net.Conn, header http.Header) (*answer, error) {
	request, err := http.NewRequest(v.method, v.target.String(), strings.NewReader(v.body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", userAgent)
	for name, values := range header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	request.Host = cmp.Or(request.Header.Get("Host"), request.Host)
	request.Close = true
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	return v.read(conn, request)
}

// read reads the answer. The body is read only where it is of interest.
func (v *visit) read(conn net.Conn, request *http.Request) (*answer, error) {
	start := time.Now()
	bound := &io.LimitedReader{R: conn, N: maxHeader}
	reader := bufio.NewReader(bound)
	_, err := reader.Peek(1)
	begun := time.Now()
	v.facts.Processing += begun.Sub(start)
	if err != nil {
		return nil, err
	}
	response, err := readFinal(reader, request)
	if err != nil && bound.N <= 0 {
		return nil, errLongHeader
	}
	if err != nil {
		return nil, err
	}
	a := &answer{Response: response}
	if v.request.settings().HTTP != nil {
		bound.N = maxBody
		a.body, err = io.ReadAll(io.LimitReader(response.Body, maxBody))
		v.facts.Transfer += time.Since(begun)
	}
	if err != nil && bound.N > 0 {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	v.noteAnswer(a)
	return a, nil
}

// noteAnswer keeps the facts of an answer. Where a redirect leads to none, those of the
// answer before it stay.
func (v *visit) noteAnswer(a *answer) {
	v.facts.Status, v.facts.Version = a.StatusCode, a.Proto
	v.facts.Length, v.facts.BodyBytes = a.ContentLength, int64(len(a.body))
	v.result.HTTP = &v.facts
}

var (
	errLongHeader = errors.New("the header of the answer has no end")
	errInterim    = errors.New("interim answers have no end")
)

// readFinal reads the header of an answer, past interim ones (RFC 9110 section 15.2).
func readFinal(reader *bufio.Reader, request *http.Request) (*http.Response, error) {
	for range maxInterim {
		response, err := http.ReadResponse(reader, request)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
	return nil, errInterim
}

// redirected sets out for where the answer redirects to, and reports whether it does. What
// is no http or https is not followed.
func (v *visit) redirected(last *answer) bool {
	switch last.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if v.method != http.MethodHead {
			v.method, v.body = http.MethodGet, ""
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return false
	}
	next, err := last.Location()
	if err != nil || next.Hostname() == "" || next.Scheme != "https" && next.Scheme != "http" {
		return false
	}
	v.target = next
	return true
}

// judge says what is wrong with the last answer.
func (v *visit) judge(last *answer) {
	line := strconv.Quote(shortened(last.Proto + " " + last.Status))
	switch wanted := v.want.Statuses; {
	case len(wanted) > 0 && !slices.Contains(wanted, last.StatusCode):
		v.complain("%sthe server answers %s, which is not among the statuses that are fine, %s", v.after(), line, list(wanted))
	case len(wanted) > 0:
	case last.StatusCode == http.StatusMisdirectedRequest:
		v.complain("%sthe server answers %s: it does not serve this name here", v.after(), line)
	case last.StatusCode >= 500:
		v.complain("%sthe server answers %s", v.after(), line)
	}
	v.judgeBody(line, last.body)
	v.judgeHeaders(line, last.Header)
}

func (v *visit) judgeBody(line string, body []byte) {
	for _, match := range v.want.Match {
		if !match.Match(body) {
			v.facts.BodyFailed = true
			v.complain("%sthe body of the answer %s does not match %q", v.after(), line, match)
		}
	}
	for _, match := range v.want.NotMatch {
		if match.Match(body) {
			v.facts.BodyFailed = true
			v.complain("%sthe body of the answer %s matches %q, which it must not", v.after(), line, match)
		}
	}
}

func (v *visit) judgeHeaders(line string, header http.Header) {
	for _, want := range v.want.HeaderMatch {
		if has, matches := want.in(header); has && !matches || !has && !want.Optional {
			v.complain("%sthe header %q of the answer %s does not match %q", v.after(), want.Header, line, want.Pattern)
		}
	}
	for _, want := range v.want.HeaderNotMatch {
		if has, matches := want.in(header); has && matches || !has && !want.Optional {
			v.complain("%sthe header %q of the answer %s is absent, or matches %q, which it must not", v.after(), want.Header, line, want.Pattern)
		}
	}
}

// in reports whether there is such a header, and whether one of its values matches.
func (p HeaderPattern) in(header http.Header) (has, matches bool) {
	values := header.Values(p.Header)
	return len(values) > 0, slices.ContainsFunc(values, p.Pattern.MatchString)
}

// after says how many redirects came before, where any did.
func (v *visit) after() string {
	switch n := v.facts.Redirects; n {
	case 0:
		return ""
	case 1:
		return "after a redirect to " + printable(v.target.Host) + ": "
	default:
		return fmt.Sprintf("after %d redirects, at %s: ", n, printable(v.target.Host))
	}
}

// list lists statuses, runs of them as "200 to 299".
func list(numbers []int) string {
	var words []string
	for i := 0; i < len(numbers); {
		end := i + 1
		for end < len(numbers) && numbers[end] == numbers[end-1]+1 {
			end++
		}
		word := strconv.Itoa(numbers[i])
		if end-i > 1 {
			word += " to " + strconv.Itoa(numbers[end-1])
		}
		words = append(words, word)
		i = end
	}
	return strings.Join(words, ", ")
}

// explainHTTP says why there is no answer to HTTP.
func explainHTTP(err error, took time.Duration) string {
	alert, alerted := remoteAlert(err)
	switch {
	case errors.Is(err, context.Canceled):
		return "the probe was cancelled while waiting for the answer to HTTP"
	case isTimeout(err):
		return fmt.Sprintf("no answer to HTTP within %s", round(took))
	case alerted:
		return fmt.Sprintf("the server answers HTTP with the TLS alert %q", alert)
	case isReset(err):
		return "the server resets the connection instead of answering HTTP"
	case isEnd(err):
		return "the server closes the connection before its answer to HTTP is complete"
	default:
		return "there is no proper answer to HTTP: " + shortened(printable(err.Error()))
	}
}
