package pdfake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is an event about an alert, as it was sent.
type Event struct {
	RoutingKey string   `json:"routing_key"`
	Action     string   `json:"event_action"`
	DedupKey   string   `json:"dedup_key"`
	Payload    *Payload `json:"payload"`
	Links      []Link   `json:"links"`
	Images     []Image  `json:"images"`
	Client     string   `json:"client"`
	ClientURL  string   `json:"client_url"`
}

// Payload is what an event says, in PagerDuty's common event format.
type Payload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp string         `json:"timestamp"`
	Component string         `json:"component"`
	Group     string         `json:"group"`
	Class     string         `json:"class"`
	Details   map[string]any `json:"custom_details"`
}

// Link is a link of an event.
type Link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// Image is an image of an event.
type Image struct {
	Src  string `json:"src"`
	Href string `json:"href"`
	Alt  string `json:"alt"`
}

const (
	maxSummary = 1024 // characters
	maxKey     = 255  // characters
)

func decodeEvent(body []byte) (Event, error) {
	var e Event
	if err := decode(body, &e); err != nil {
		return e, err
	}
	errs := []error{checkRoutingKey(e.RoutingKey), checkLinks(e.Links), checkImages(e.Images)}
	if !slices.Contains([]string{"trigger", "acknowledge", "resolve"}, e.Action) {
		errs = append(errs, errors.New("'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"))
	}
	if utf8.RuneCountInString(e.DedupKey) > maxKey {
		errs = append(errs, fmt.Errorf("'dedup_key' is longer than %d characters", maxKey))
	}
	if e.ClientURL != "" && !isWebAddress(e.ClientURL, "http", "https") {
		errs = append(errs, errors.New("'client_url' is not a URL"))
	}
	switch {
	case e.Action != "trigger" && e.DedupKey == "":
		errs = append(errs, errors.New("'dedup_key' is missing or blank"))
	case e.Action == "trigger" && e.Payload == nil:
		errs = append(errs, errors.New("'payload' is missing"))
	case e.Payload != nil:
		errs = append(errs, e.Payload.check())
	}
	return e, errors.Join(errs...)
}

func (p Payload) check() error {
	errs := []error{checkSummary(p.Summary), checkTimestamp(p.Timestamp)}
	if strings.TrimSpace(p.Source) == "" {
		errs = append(errs, errors.New("'payload.source' is missing or blank"))
	}
	if !slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity) {
		errs = append(errs, errors.New("'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')"))
	}
	return errors.Join(errs...)
}

func decodeChange(body []byte) (Change, error) {
	var sent struct {
		RoutingKey string `json:"routing_key"`
		Payload    *struct {
			Summary   string         `json:"summary"`
			Source    string         `json:"source"`
			Timestamp string         `json:"timestamp"`
			Details   map[string]any `json:"custom_details"`
		} `json:"payload"`
		Links []Link `json:"links"`
	}
	if err := decode(body, &sent); err != nil {
		return Change{}, err
	}
	errs := []error{checkRoutingKey(sent.RoutingKey), checkLinks(sent.Links)}
	if strings.HasPrefix(sent.RoutingKey, "R") {
		errs = append(errs, errors.New("change events cannot be sent to the key of a ruleset"))
	}
	if sent.Payload == nil {
		return Change{}, errors.Join(append(errs, errors.New("'payload' is missing"))...)
	}
	p := *sent.Payload
	errs = append(errs, checkSummary(p.Summary), checkTimestamp(p.Timestamp))
	return Change{RoutingKey: sent.RoutingKey, Summary: p.Summary, Source: p.Source, Details: p.Details, Links: sent.Links}, errors.Join(errs...)
}

// decode reads one JSON object without unknown fields.
func decode(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errors.New("the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("JSON parse error: %w", err)
	}
	if d.More() {
		return errors.New("JSON parse error: more than one object")
	}
	return nil
}

func checkRoutingKey(key string) error {
	if len(key) != 32 {
		return errors.New("length of 'routing_key' is incorrect (should be 32 characters)")
	}
	return nil
}

func checkSummary(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New("'payload.summary' is missing or blank")
	case utf8.RuneCountInString(s) > maxSummary:
		return fmt.Errorf("'payload.summary' is longer than %d characters", maxSummary)
	}
	return nil
}

// checkTimestamp takes the two ISO 8601 forms that the documentation shows.
func checkTimestamp(s string) error {
	if s == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999-0700"} {
		if _, err := time.Parse(layout, s); err == nil {
			return nil
		}
	}
	return errors.New("'payload.timestamp' is not an ISO 8601 timestamp")
}

func checkLinks(links []Link) error {
	for _, l := range links {
		if !isWebAddress(l.Href, "http", "https") {
			return errors.New("'links' has one whose 'href' is not a URL")
		}
	}
	return nil
}

func checkImages(images []Image) error {
	for _, i := range images {
		if !isWebAddress(i.Src, "https") || i.Href != "" && !isWebAddress(i.Href, "http", "https") {
			return errors.New("'images' has one whose 'src' is not an https URL, or whose 'href' is not a URL")
		}
	}
	return nil
}

func isWebAddress(s string, schemes ...string) bool {
	u, err := url.Parse(s)
	return err == nil && slices.Contains(schemes, u.Scheme) && u.Host != ""
}
