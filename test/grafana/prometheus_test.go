package grafana_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// scrapeEvery is how often Prometheus scrapes here, and asks the rules.
const scrapeEvery = time.Second

// ruleFiles are the rules that are handed out, below dashboards/.
func ruleFiles() []string {
	return []string{"certmedic.rules.yml", "prometheus/certmedic.recording.yml", "prometheus/certmedic.up.yml"}
}

// prometheus is a running Prometheus.
type prometheus struct {
	t       *testing.T
	address string
	log     bytes.Buffer
}

// startPrometheus starts one that scrapes instances, by their names, with the rules that are
// handed out.
func startPrometheus(t *testing.T, instances map[string]string) *prometheus {
	t.Helper()
	programs := unpacked(t, "prometheus", "prometheus", "prometheus")
	p := &prometheus{t: t, address: free(t)}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: %s, evaluation_interval: %s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: certmedic\n    static_configs:\n", scrapeEvery, scrapeEvery, dir+"/*.rules.yml")
	for name, address := range instances {
		config += fmt.Sprintf("      - {targets: [%q], labels: {instance: %q}}\n", address, name)
	}
	write(t, filepath.Join(dir, "prometheus.yml"), config)
	for i, name := range ruleFiles() {
		text, err := os.ReadFile(filepath.Join(root(t), "dashboards", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, fmt.Sprintf("%d.rules.yml", i)), string(text))
	}
	process := exec.Command(filepath.Join(programs, "prometheus"), "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data",
		"--web.listen-address="+p.address, "--log.level=warn")
	process.Stdout, process.Stderr = &p.log, &p.log
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait() // it was killed
	})
	await(t, "Prometheus scrapes all of them", func() bool {
		up, err := p.now("up == 1", span{to: time.Now()})
		return err == nil && len(up) == len(instances)
	})
	return p
}

// get asks for a page, and decodes the data of its answer where into is not nil.
func (p *prometheus) get(path string, values url.Values, into any) error {
	client := &http.Client{Timeout: 20 * time.Second}
	resp, err := client.Get("http://" + p.address + path + "?" + values.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if into == nil {
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, resp.Status)
		}
		return nil
	}
	var answer struct {
		Error    string
		Warnings []string
		Data     json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	if answer.Error != "" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s %q", answer.Error, answer.Warnings)
	}
	return json.Unmarshal(answer.Data, into)
}

// series is one of an answer, with its last value.
type series struct {
	labels map[string]string
	value  float64
}

// answer is what Prometheus returns for a query.
type answer struct {
	Result []struct {
		Metric map[string]string
		Value  [2]any
		Values [][2]any
	}
}

func (a *answer) series() ([]series, error) {
	all := make([]series, 0, len(a.Result))
	for _, r := range a.Result {
		last := r.Value
		if n := len(r.Values); n > 0 {
			last = r.Values[n-1]
		}
		text, _ := last[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the value %v: %w", last, err)
		}
		all = append(all, series{r.Metric, v})
	}
	return all, nil
}

// span is the time that a dashboard shows.
type span struct{ from, to time.Time }

func (s span) values() url.Values {
	return url.Values{"start": {unix(s.from)}, "end": {unix(s.to)}}
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// now asks a query at the end of the span.
func (p *prometheus) now(expr string, s span) ([]series, error) {
	var a answer
	if err := p.get("/api/v1/query", url.Values{"query": {expr}, "time": {unix(s.to)}}, &a); err != nil {
		return nil, err
	}
	return a.series()
}

// over asks a query at each step of the span.
func (p *prometheus) over(expr string, s span) ([]series, error) {
	var a answer
	v := s.values()
	v.Set("query", expr)
	v.Set("step", scrapeEvery.String())
	if err := p.get("/api/v1/query_range", v, &a); err != nil {
		return nil, err
	}
	return a.series()
}
