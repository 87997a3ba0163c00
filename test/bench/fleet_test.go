package bench_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

// The environment of the process of the fleet.
const (
	fleetSize    = "CERTMEDIC_BENCH_SIZE"
	fleetFolder  = "CERTMEDIC_BENCH_FOLDER"
	fleetStalled = "CERTMEDIC_BENCH_STALLED" // 1: a tenth accepts, reads and never answers
)

// The files that a fleet writes.
const (
	rootsFile     = "roots.pem"
	endpointsFile = "endpoints.json"
)

// endpoint is one of the fleet.
type endpoint struct{ Address, Name string }

// fleet is a process that serves endpoints, each with its own leaf.
type fleet struct {
	*process
	folder    string
	endpoints []endpoint
}

// startFleet starts a fleet that ends with the test.
func startFleet(t *testing.T, size int, stalled bool) *fleet {
	t.Helper()
	folder := t.TempDir()
	env := []string{role + "=fleet", fleetSize + "=" + strconv.Itoa(size), fleetFolder + "=" + folder}
	if stalled {
		env = append(env, fleetStalled+"=1")
	}
	f := &fleet{process: start(t, os.Args[0], env), folder: folder}
	f.ask()
	data, err := os.ReadFile(filepath.Join(folder, endpointsFile))
	if err == nil {
		err = json.Unmarshal(data, &f.endpoints)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// environment makes the fleet's root the only one that a process trusts, without a file
// that it would have to read again.
func (f *fleet) environment() []string {
	return []string{"SSL_CERT_FILE=" + filepath.Join(f.folder, rootsFile), "SSL_CERT_DIR=" + f.folder + "/none"}
}

// runFleet serves until standard input ends. Each line of that asks how many handshakes
// were completed.
func runFleet() error {
	size, err := strconv.Atoi(os.Getenv(fleetSize))
	if err != nil {
		return err
	}
	root, err := mint.NewCA("Bench Root")
	if err != nil {
		return err
	}
	issuing, err := root.Intermediate("Bench Issuing")
	if err != nil {
		return err
	}
	s := &servers{certificates: map[string]*tls.Certificate{}}
	s.config = &tls.Config{GetCertificate: s.certificate}
	var endpoints []endpoint
	for i := range size {
		e, err := s.open(i, issuing)
		if err != nil {
			return err
		}
		endpoints = append(endpoints, e)
	}
	for i, l := range s.listeners {
		go s.serve(l, os.Getenv(fleetStalled) != "" && i%10 == 0)
	}
	if err := describe(os.Getenv(fleetFolder), root, endpoints); err != nil {
		return err
	}
	return answer(&s.handshakes)
}

// describe writes the files of a fleet.
func describe(folder string, root *mint.CA, endpoints []endpoint) error {
	data, err := json.Marshal(endpoints)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(folder, rootsFile), root.PEM(), 0o644),
		os.WriteFile(filepath.Join(folder, endpointsFile), data, 0o644),
	)
}

// answer writes the counter for each line of standard input, until that ends.
func answer(counter *atomic.Int64) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if _, err := fmt.Println(counter.Load()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// servers are the endpoints of a fleet.
type servers struct {
	config       *tls.Config
	certificates map[string]*tls.Certificate // by address; no longer changed when it is served
	listeners    []net.Listener
	handshakes   atomic.Int64
}

// perHost is how many endpoints share an IP address.
const perHost = 100

// open listens for one endpoint and makes its certificate, for its name and its address.
func (s *servers) open(i int, issuing *mint.CA) (endpoint, error) {
	host := fmt.Sprintf("127.0.%d.%d", 1+i/perHost/250, 1+i/perHost%250)
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return endpoint{}, err
	}
	e := endpoint{Address: l.Addr().String(), Name: fmt.Sprintf("s%05d.fleet.test", i)}
	leaf, err := issuing.Leaf(mint.Leaf{Names: []string{e.Name, host}})
	if err != nil {
		return endpoint{}, err
	}
	certificate := leaf.TLS()
	s.certificates[e.Address] = &certificate
	s.listeners = append(s.listeners, l)
	return e, nil
}

func (s *servers) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.certificates[hello.Conn.LocalAddr().String()], nil
}

func (s *servers) serve(l net.Listener, stalled bool) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if stalled {
			go drain(conn)
			continue
		}
		go s.shake(conn)
	}
}

// patience is how long a connection may last.
const patience = time.Minute

func (s *servers) shake(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	server := tls.Server(conn, s.config)
	if server.Handshake() != nil {
		return
	}
	s.handshakes.Add(1)
	_, _ = io.Copy(io.Discard, server)
}

// drain reads and never answers.
func drain(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn)
}
