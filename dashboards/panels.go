package dashboards

import (
	"strconv"
	"strings"
)

// scoped writes the matchers of a dashboard's variables into an expression: {@c} asks for the
// job, the instance and the certificate, {@} for the first two, {@j} for the job alone, of what is
// recorded for all its instances; more matchers may follow.
func scoped(expr string) string {
	const instance = `{job=~"$job",instance=~"$instance"`
	return strings.NewReplacer("{@c", instance+`,certificate=~"$certificate"`, "{@j", `{job=~"$job"`, "{@", instance).Replace(expr)
}

// query is an expression of a panel, and what its series are called.
type query struct{ expr, legend string }

// expressions returns queries whose series are called as Grafana does by itself.
func expressions(exprs ...string) []query {
	all := make([]query, 0, len(exprs))
	for _, e := range exprs {
		all = append(all, query{e, "__auto"})
	}
	return all
}

// targets returns the queries as a panel asks them: for what is now, or for the time shown.
func targets(now bool, format string, queries []query) []target {
	all := make([]target, 0, len(queries))
	for i, q := range queries {
		all = append(all, target{
			RefID: string(rune('A' + i)), Datasource: chosen(), Expr: scoped(q.expr), LegendFormat: q.legend,
			EditorMode: "code", Instant: now, Range: !now, Format: format,
		})
	}
	return all
}

func ask(kind, title, about string, all []target) panel {
	from := chosen()
	return panel{
		Type: kind, Title: title, Description: about, Datasource: &from, Targets: all,
		FieldConfig: &fields{
			Defaults:  defaults{Unit: "none", Thresholds: steps(at("text", nil)), Color: object{"mode": "thresholds"}},
			Overrides: []override{},
		},
	}
}

// stat shows one value of each query, as it is now.
func stat(title, about string, queries ...query) panel {
	p := ask("stat", title, about, targets(true, "", queries))
	p.Options = object{
		"colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
		"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}
	return p
}

// meter shows one bar for each series, as it is now.
func meter(title, about string, queries ...query) panel {
	p := stat(title, about, queries...)
	p.Type = "bargauge"
	delete(p.Options, "colorMode")
	delete(p.Options, "graphMode")
	delete(p.Options, "justifyMode")
	delete(p.Options, "textMode")
	p.Options["orientation"] = "horizontal"
	p.Options["displayMode"] = "basic"
	return p
}

// lines shows how values went.
func lines(title, about string, queries ...query) panel {
	p := ask("timeseries", title, about, targets(false, "", queries))
	p.FieldConfig.Defaults.Color = object{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Custom = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": false}
	p.Options = object{
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "multi", "sort": "desc"},
	}
	return p
}

// stacked shows how the parts of a sum went.
func stacked(title, about string, queries ...query) panel {
	p := lines(title, about, queries...).from(0)
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 60
	p.FieldConfig.Defaults.Custom["stacking"] = object{"mode": "normal", "group": "A"}
	return p
}

// events shows how often something happened, as bars.
func events(title, about string, queries ...query) panel {
	p := stacked(title, about, queries...).decimals(0)
	p.FieldConfig.Defaults.Custom["drawStyle"] = "bars"
	return p
}

// states shows in which state something was, a line for each series.
func states(title, about string, queries ...query) panel {
	p := ask("state-timeline", title, about, targets(false, "", queries))
	p.FieldConfig.Defaults.Custom = object{"lineWidth": 0, "fillOpacity": 75}
	p.Options = object{
		"mergeValues": true, "showValue": "auto", "alignValue": "left", "rowHeight": 0.8,
		"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true},
		"tooltip": object{"mode": "single", "sort": "none"},
	}
	return p
}

// unit sets what the values are counted in, by Grafana's name for it.
func (p panel) unit(name string) panel {
	p.FieldConfig.Defaults.Unit = name
	return p
}

func (p panel) decimals(n int) panel {
	p.FieldConfig.Defaults.Decimals = &n
	return p
}

// from sets the least value of the axis.
func (p panel) from(least float64) panel {
	p.FieldConfig.Defaults.Min = &least
	return p
}

// coarse bounds the points of a picture that takes long to ask for.
func (p panel) coarse() panel {
	p.MaxDataPoints = 200
	return p
}

// none sets what is shown where there is nothing.
func (p panel) none(text string) panel {
	p.FieldConfig.Defaults.NoValue = text
	return p
}

// colours sets which values have which colour.
func (p panel) colours(t thresholds) panel {
	p.FieldConfig.Defaults.Thresholds = t
	return p
}

// names sets what values are called.
func (p panel) names(mappings []object) panel {
	p.FieldConfig.Defaults.Mappings = mappings
	return p
}

// links sets where a click on a value leads.
func (p panel) links(all ...object) panel {
	p.FieldConfig.Defaults.Links = all
	return p
}

// paint gives the series of a name a colour of its own.
func (p panel) paint(name, colour string) panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
		Matcher:    object{"id": "byName", "options": name},
		Properties: []object{{"id": "color", "value": object{"mode": "fixed", "fixedColor": colour}}},
	})
	return p
}

func steps(all ...step) thresholds { return thresholds{Mode: "absolute", Steps: all} }

func at(colour string, value *float64) step { return step{Color: colour, Value: value} }

// from is a colour for what is not less than a value.
func from(value float64, colour string) step { return at(colour, &value) }

// below is the colour of what is less than all others.
func below(colour string) step { return at(colour, nil) }

// bands are those of the share of a lifetime that is left. Shares and not days: ten days are
// little of a year and more than there is of six days.
func bands() thresholds {
	return steps(below("dark-red"), from(0, "red"), from(0.1, "orange"), from(0.25, "green"))
}

// ends are the colours of what should not come: the time until then runs out.
func ends() thresholds { return steps(below("red"), from(0, "text")) }

// none are the colours of what there should be none of.
func unwanted(colour string) thresholds { return steps(below("green"), from(1, colour)) }

// value is a number with what it is called.
type value struct {
	text, colour string
}

// called names the values 0, 1, 2 and so on.
func called(values ...value) []object {
	options := object{}
	for i, v := range values {
		options[strconv.Itoa(i)] = object{"text": v.text, "color": v.colour, "index": i}
	}
	return []object{{"type": "value", "options": options}}
}

// link leads to a page when a value is clicked.
func link(title, url string) object { return object{"title": title, "url": url, "targetBlank": false} }

// keep is what a link to another dashboard takes along.
const keep = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${ui:queryparam}&${__url_time_range}"

// toPage leads to a page of certmedic about what a field holds.
func toPage(title, folder, field string) object {
	return link(title, "${ui}/"+folder+"/${__data.fields."+field+":percentencode}")
}

// toCertificate leads to the dashboard of the certificate that a field names.
func toCertificate(field string) object {
	return link("Its dashboard", "/d/"+certificateUID+"?"+keep+"&var-certificate=${__data.fields."+field+":percentencode}")
}
