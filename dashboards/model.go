package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// object is a part of a dashboard that is written as it stands.
type object = map[string]any

// Dashboard is a dashboard of Grafana 11 or later, as its JSON has it. Its panels are
// unexported: what reads them reads the JSON.
type Dashboard struct {
	UID          string      `json:"uid"`
	Title        string      `json:"title"`
	Description  string      `json:"description"`
	Tags         []string    `json:"tags"`
	Editable     bool        `json:"editable"`
	GraphTooltip int         `json:"graphTooltip"` // 1: a shared crosshair
	Schema       int         `json:"schemaVersion"`
	Version      int         `json:"version"`
	Refresh      string      `json:"refresh"`
	Time         timeRange   `json:"time"`
	Timezone     string      `json:"timezone"`
	Links        []object    `json:"links"`
	Annotations  annotations `json:"annotations"`
	Templating   templating  `json:"templating"`
	Panels       []panel     `json:"panels"`

	file string
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type annotations struct {
	List []annotation `json:"list"`
}

type templating struct {
	List []object `json:"list"`
}

type source struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// chosen is the data source that was chosen in the dashboard.
func chosen() source { return source{Type: "prometheus", UID: "${datasource}"} }

type annotation struct {
	Name            string `json:"name"`
	Enable          bool   `json:"enable"`
	IconColor       string `json:"iconColor"`
	Datasource      source `json:"datasource"`
	Expr            string `json:"expr"`
	TitleFormat     string `json:"titleFormat"`
	Step            string `json:"step,omitempty"`
	UseValueForTime bool   `json:"useValueForTime"`
}

type panel struct {
	ID              int         `json:"id"`
	Type            string      `json:"type"`
	Title           string      `json:"title"`
	Description     string      `json:"description,omitempty"`
	Datasource      *source     `json:"datasource,omitempty"`
	GridPos         grid        `json:"gridPos"`
	Collapsed       *bool       `json:"collapsed,omitempty"` // of rows
	Panels          *[]panel    `json:"panels,omitempty"`    // of rows
	Targets         []target    `json:"targets,omitempty"`
	MaxDataPoints   int         `json:"maxDataPoints,omitempty"`
	FieldConfig     *fields     `json:"fieldConfig,omitempty"`
	Options         object      `json:"options,omitempty"`
	Transformations []transform `json:"transformations,omitempty"`
}

type grid struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

type target struct {
	RefID        string `json:"refId"`
	Datasource   source `json:"datasource"`
	Expr         string `json:"expr"`
	LegendFormat string `json:"legendFormat"`
	EditorMode   string `json:"editorMode"`
	Instant      bool   `json:"instant"`
	Range        bool   `json:"range"`
	Format       string `json:"format,omitempty"`
}

type fields struct {
	Defaults  defaults   `json:"defaults"`
	Overrides []override `json:"overrides"`
}

type defaults struct {
	Unit       string     `json:"unit"`
	Decimals   *int       `json:"decimals,omitempty"`
	Min        *float64   `json:"min,omitempty"`
	Max        *float64   `json:"max,omitempty"`
	NoValue    string     `json:"noValue,omitempty"`
	Mappings   []object   `json:"mappings,omitempty"`
	Thresholds thresholds `json:"thresholds"`
	Color      object     `json:"color"`
	Custom     object     `json:"custom,omitempty"`
	Links      []object   `json:"links,omitempty"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
}

// step is a colour from a value on; the first has none.
type step struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"`
}

type override struct {
	Matcher    object   `json:"matcher"`
	Properties []object `json:"properties"`
}

type transform struct {
	ID      string `json:"id"`
	Options object `json:"options"`
}

// File returns the name of the dashboard's file below grafana/.
func (d *Dashboard) File() string { return d.file }

// JSON returns the dashboard as its file has it.
func (d *Dashboard) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("writing dashboard %q: %w", d.UID, err)
	}
	return b.Bytes(), nil
}
