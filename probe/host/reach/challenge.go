package reach

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/netguard"
)

// Where tokens are (RFC 8555, section 8.3).
const challengeDir = ".well-known/acme-challenge"

// The bounds of one question, as Let's Encrypt has them.
const (
	maxRedirects = 10
	maxBody      = 128 << 10
)

// tryHTTP asks every address of a name for a token, as a CA does.
func tryHTTP(ctx context.Context, m Means, q Question, name string, addresses []string) []Answer {
	t, remove, err := place(q, name)
	if err != nil {
		return []Answer{wrong(certmedic.CauseChallenge404, "# let the client write into the webroot, or name the right one", fine(name, q.Webroots[name], "%v", err))}
	}
	defer remove()
	var all []Answer
	for _, address := range addresses {
		all = append(all, t.ask(ctx, m, cmp.Or(q.Local, net.JoinHostPort(address, "80"))))
	}
	return all
}

// token is what is asked for.
type token struct {
	name    string // of the certificate
	file    string
	content string // empty: nothing was placed, and "not found" is what has to come
}

// place puts a token into the webroot of a name, where that was allowed. It leaves through no
// link, and remove takes away what it made.
func place(q Question, name string) (t token, remove func(), err error) {
	t = token{name: name, file: "certmedic-" + rand.Text()}
	webroot := q.Webroots[name]
	if !q.Place || webroot == "" {
		return t, func() {}, nil
	}
	root, err := os.OpenRoot(webroot)
	if err != nil {
		return t, func() {}, fmt.Errorf("opening the webroot: %w", err)
	}
	made := missing(root)
	remove = func() {
		_ = root.Remove(challengeDir + "/" + t.file) // what was not written cannot be removed
		for _, folder := range made {
			_ = root.Remove(folder) // unless somebody put something there meanwhile
		}
		_ = root.Close()
	}
	t.content = rand.Text()
	err = root.MkdirAll(challengeDir, 0o755)
	if err == nil {
		err = write(root, challengeDir+"/"+t.file, t.content)
	}
	if err != nil {
		remove()
		return t, func() {}, fmt.Errorf("placing a token: %w", err)
	}
	return t, remove, nil
}

// missing returns the folders on the way to the tokens that are not there, the inner ones first.
func missing(root *os.Root) []string {
	var all []string
	for _, folder := range []string{challengeDir, ".well-known"} {
		if _, err := root.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
			all = append(all, folder)
		}
	}
	return all
}

func write(root *os.Root, path, content string) error {
	file, err := root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, content)
	return errors.Join(err, file.Close())
}

// ask asks one address for the token, and follows redirects as a CA does.
func (t token) ask(ctx context.Context, m Means, address string) Answer {
	ctx, cancel := context.WithTimeout(ctx, oneTimeout)
	defer cancel()
	client := &http.Client{Transport: transport(m, address), CheckRedirect: checkRedirect}
	defer client.CloseIdleConnections()
	domain := t.name
	page := "http://" + domain + "/" + challengeDir + "/" + t.file
	seen := fine(t.name, page+" at "+address, "")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		seen.Evidence.Line = err.Error()
		return seen
	}
	response, err := client.Do(request)
	if err != nil {
		return refused(seen, err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody)) // a body that is cut short is not the token
	return t.judge(seen, response, strings.TrimSpace(string(body)))
}

// judge says what a CA would make of an answer.
func (t token) judge(seen Answer, response *http.Response, body string) Answer {
	where := ""
	if to := response.Request.URL; to.Hostname() != t.name || to.Scheme != "http" {
		where = ", after a redirect to " + to.Scheme + "://" + to.Host
	}
	seen.Evidence.Line = fmt.Sprintf("status %d%s", response.StatusCode, where)
	switch {
	case t.content != "" && response.StatusCode == http.StatusOK && body == t.content:
		seen.Evidence.Line += ": the token that was placed came back"
		return seen
	case t.content != "":
		seen.Evidence.Line += ": the token that was placed in the webroot did not come back"
		return wrong(certmedic.CauseChallenge404, "# have "+challengeDir+" of "+t.name+" served from the webroot that the renewal configuration names", seen)
	case response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized:
		return wrong(certmedic.CauseChallengeUnauthorized, "# let everybody read "+challengeDir+" of "+t.name, seen)
	default:
		seen.Evidence.Line += "; no token was placed, so whether it would be found is not known"
		return seen
	}
}

// refused says what a CA would say of an error.
func refused(seen Answer, err error) Answer {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	seen.Evidence.Line = err.Error()
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return wrong(certmedic.CauseChallengeRefused, "# have something answer on port 80 of every address of "+seen.Name, seen)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return wrong(certmedic.CauseChallengeTimeout, "# let port 80 of every address of "+seen.Name+" be reached from everywhere (firewall, router, AAAA records)", seen)
	default:
		return wrong(certmedic.CauseChallengeUnauthorized, "# let "+seen.Name+" answer plain HTTP on port 80", seen)
	}
}

// checkRedirect follows where a CA follows: to ports 80 and 443, by HTTP and HTTPS.
func checkRedirect(request *http.Request, via []*http.Request) error {
	port := request.URL.Port()
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case request.URL.Scheme != "http" && request.URL.Scheme != "https":
		return fmt.Errorf("it redirects to %q, which a CA does not follow", request.URL.Scheme)
	case port != "" && port != "80" && port != "443":
		return fmt.Errorf("it redirects to port %s, which a CA does not follow", port)
	default:
		return nil
	}
}

// transport connects to the address for the first question, and to where redirects lead after
// it. It verifies no certificate, as CAs do not on this way.
func transport(m Means, address string) *http.Transport {
	dial := m.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	asked := false
	to := func(ctx context.Context, network, want string) (net.Conn, error) {
		if !asked {
			asked = true
			return dial(ctx, network, address)
		}
		host, port, err := net.SplitHostPort(want)
		if err != nil {
			return nil, err
		}
		return dialName(ctx, m, network, host, port, dial)
	}
	return &http.Transport{
		DialContext: to, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	}
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// dialName connects to a host that a redirect named; to addresses that nobody means, it does not.
func dialName(ctx context.Context, m Means, network, host, port string, dial dialer) (net.Conn, error) {
	addresses := []string{host}
	if net.ParseIP(host) == nil {
		var err error
		if addresses, err = lookup(ctx, m, host); err != nil {
			return nil, err
		}
	}
	ip, err := netip.ParseAddr(addresses[0])
	if err != nil {
		return nil, err
	}
	if netguard.Sensitive(ip) {
		return nil, fmt.Errorf("%s: addresses of this kind are not asked", ip)
	}
	return dial(ctx, network, net.JoinHostPort(addresses[0], port))
}
