package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/certmedic/certmedic"
)

// TestMain puts this command and a stand-in for certmedic on the PATH of the tests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"certlab": main, "certmedic": standIn})
}

func TestTranscripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(env *testscript.Env) error {
		env.Setenv("GORACE", os.Getenv("GORACE"))
		return nil
	}})
}

func TestStoryEndsItsChildrenWhenItIsToldToStop(t *testing.T) {
	command := exec.CommandContext(t.Context(), "certlab", "story", "--dir", t.TempDir(), "--web-port", "0", "--node-port", "0")
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	children := []int{}
	pid := regexp.MustCompile(`\(pid (\d+)\)`)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if match := pid.FindStringSubmatch(lines.Text()); match != nil {
			number, _ := strconv.Atoi(match[1])
			children = append(children, number)
		}
		if strings.Contains(lines.Text(), "Ctrl-C ends the story") {
			if err := command.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := command.Wait(); err != nil {
		t.Errorf("the story ended with %v", err)
	}
	if len(children) != 2 {
		t.Errorf("the story named %d children, want certmedic and the node", len(children))
	}
	for _, child := range children {
		if err := syscall.Kill(child, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("child %d is still there (%v)", child, err)
		}
	}
}

// standIn plays certmedic for the story: it serves the pages that the story reads, and
// heals by running the hook when live/ has changed. With FAKE=blind it never notices,
// with FAKE=dead it ends at once.
func standIn() {
	if os.Getenv("FAKE") == "dead" {
		fmt.Fprintln(os.Stderr, "configuration refused")
		os.Exit(1)
	}
	config := struct {
		Certificates []struct {
			Source struct {
				Certbot struct {
					ConfigDir string `yaml:"config_dir"`
					Lineage   string `yaml:"lineage"`
				} `yaml:"certbot"`
			} `yaml:"source"`
		} `yaml:"certificates"`
	}{}
	content, err := os.ReadFile(os.Args[2])
	if err == nil {
		err = yaml.Unmarshal(content, &config)
	}
	if err != nil || len(config.Certificates) != 1 {
		fmt.Fprintln(os.Stderr, "reading the configuration:", err)
		os.Exit(1)
	}
	source := config.Certificates[0].Source.Certbot
	fake := &fake{configDir: source.ConfigDir, link: filepath.Join(source.ConfigDir, "live", source.Lineage, "cert.pem")}
	fake.seen, _ = os.Readlink(fake.link)
	listen := os.Args[len(os.Args)-1]
	fmt.Fprintln(os.Stderr, http.ListenAndServe(listen, fake))
}

// fake is the state of the stand-in. The story asks one page at a time.
type fake struct {
	configDir, link, seen string
	incidents             []certmedic.Incident
	actions               []certmedic.Action
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch r.URL.Path {
	case "/-/ready":
	case "/metrics":
		fmt.Fprintln(w, `certmedic_served_matches_stored{certificate="shop",endpoint="e",address="a"} 1`)
	case "/api/v1/incidents":
		f.heal()
		answer = f.incidents
	case "/api/v1/history":
		answer = f.actions
	default:
		http.NotFound(w, r)
	}
	if answer != nil {
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func (f *fake) heal() {
	target, err := os.Readlink(f.link)
	if err != nil || target == f.seen || os.Getenv("FAKE") == "blind" {
		return
	}
	f.seen = target
	started := time.Now()
	hook := filepath.Join(f.configDir, "renewal-hooks", "deploy", "50-reload-web")
	kind := certmedic.OutcomeHealed
	if err := exec.Command(hook).Run(); err != nil {
		kind = certmedic.OutcomeFailed
	}
	f.incidents = append(f.incidents, certmedic.Incident{
		Rule: "renewed-not-served", Summary: "shop is renewed, not served",
		Subject:  certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: "shop"},
		FiringAt: started,
	})
	f.actions = append(f.actions, certmedic.Action{
		Certificate: "shop", Kind: certmedic.ActionRedeploy, By: "renewed-not-served", StartedAt: started,
		Outcome: certmedic.Outcome{Kind: kind}, Runs: []certmedic.Run{{Name: hook}},
	})
}
