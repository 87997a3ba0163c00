package fetch

import (
	"net/http"
	"regexp"
	"slices"
)

// judge decides whether an answer is a success. Expressions are tried only where nothing
// else failed before.
func (r *Result) judge(response *http.Response, body []byte, s Settings) {
	r.Success = len(r.Failures) == 0
	switch valid := s.ValidStatusCodes; {
	case len(valid) == 0 && (r.Status < 200 || r.Status > 299):
		r.fail("the status is %d, not 2xx", r.Status)
	case len(valid) > 0 && !slices.Contains(valid, r.Status):
		r.fail("the status is %d, not one of %v", r.Status, valid)
	}
	if r.Success {
		r.judgeHeader(response.Header, s)
	}
	if r.Success {
		r.judgeBody(body, s)
	}
	if len(s.ValidVersions) > 0 && !slices.Contains(s.ValidVersions, response.Proto) {
		r.fail("the version is %q, not one of %q", response.Proto, s.ValidVersions)
	}
	if s.FailIfSSL && r.SSL {
		r.fail("the last request was over TLS")
	}
	if s.FailIfNotSSL && !r.SSL {
		r.fail("the last request was not over TLS")
	}
}

func (r *Result) judgeHeader(header http.Header, s Settings) {
	for _, m := range s.FailIfHeaderMatches {
		values := header.Values(m.Header)
		if !r.present(values, m) {
			return
		}
		if matched(values, m.Regexp) {
			r.failByRegex("the header %q matches %q", m.Header, m.Regexp)
			return
		}
	}
	for _, m := range s.FailIfHeaderNotMatches {
		values := header.Values(m.Header)
		if !r.present(values, m) {
			return
		}
		if len(values) > 0 && !matched(values, m.Regexp) {
			r.failByRegex("the header %q does not match %q", m.Header, m.Regexp)
			return
		}
	}
}

// present fails where a header is missing that has to be there.
func (r *Result) present(values []string, m HeaderMatch) bool {
	if len(values) == 0 && !m.AllowMissing {
		r.failByRegex("the header %q is missing", m.Header)
		return false
	}
	return true
}

func matched(values []string, re *regexp.Regexp) bool {
	return slices.ContainsFunc(values, re.MatchString)
}

func (r *Result) judgeBody(body []byte, s Settings) {
	for _, re := range s.FailIfBodyMatches {
		if re.Match(body) {
			r.failByRegex("the body matches %q", re)
			return
		}
	}
	for _, re := range s.FailIfBodyNotMatches {
		if !re.Match(body) {
			r.failByRegex("the body does not match %q", re)
			return
		}
	}
}

func (r *Result) failByRegex(format string, args ...any) {
	r.FailedByRegex = true
	r.fail(format, args...)
}
