package dashboards

// What the dashboards are addressed by. They stand in the links of others, and never change.
const (
	fleetUID       = "certmedic"
	certificateUID = "certmedic-certificate"
	ledgerUID      = "certmedic-ledger"
	deliveryUID    = "certmedic-delivery"
	watchdogUID    = "certmedic-watchdog"
)

// All returns the dashboards.
func All() []Dashboard {
	return []Dashboard{fleet(), certificate(), remediation(), delivery(), watchdog()}
}

// board returns a dashboard without panels, that asks which job and which instance, and more.
func board(uid, file, title, about string, variables ...object) Dashboard {
	return Dashboard{
		UID: uid, file: file, Title: title, Description: about, Tags: []string{"certmedic", "tls"},
		GraphTooltip: 1, Schema: 39, Version: 1, Refresh: "30s", Time: timeRange{"now-24h", "now"}, Timezone: "browser",
		Links: []object{
			{"type": "dashboards", "title": "certmedic", "tags": []string{"certmedic"}, "asDropdown": true, "includeVars": true, "keepTime": true},
			{"type": "link", "title": "The page of certmedic", "url": "${ui}", "icon": "external link", "targetBlank": true},
		},
		Templating: templating{append([]object{
			{"name": "datasource", "label": "Data Source", "type": "datasource", "query": "prometheus", "refresh": 1, "current": object{}, "options": []object{}, "hide": 0},
			variable("job", "Job", "label_values(certmedic_build_info, job)"),
			variable("instance", "Instance", `label_values(certmedic_build_info{job=~"$job"}, instance)`),
		}, append(variables, page())...)},
	}
}

// variable asks for any number of values of a label.
func variable(name, label, definition string) object {
	v := single(name, label, definition)
	v["multi"], v["includeAll"], v["allValue"] = true, true, ".+"
	v["current"] = object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}}
	return v
}

// single asks for one value of a label.
func single(name, label, definition string) object {
	return object{
		"name": name, "label": label, "type": "query", "datasource": chosen(), "definition": definition,
		"query":   object{"query": definition, "refId": "StandardVariableQuery"},
		"refresh": 2, "sort": 1, "multi": false, "includeAll": false, "current": object{}, "options": []object{}, "regex": "", "hide": 0,
	}
}

// page asks where the page of certmedic is: links lead there.
func page() object {
	const here = "http://127.0.0.1:9879"
	option := object{"selected": true, "text": here, "value": here}
	return object{"name": "ui", "label": "Page of certmedic", "type": "textbox", "query": here, "current": option, "options": []object{option}, "hide": 0}
}

// certificates asks which certificates are shown. All of them includes what is only watched,
// whose name is empty.
func certificates() object {
	v := variable("certificate", "Certificate", `label_values(certmedic_stage{job=~"$job",instance=~"$instance"}, certificate)`)
	v["allValue"] = ".*"
	return v
}

// row adds a row, of panels of one height each that are as wide as said, from left to right.
func (d *Dashboard) row(title string, height int, panels ...panel) {
	y := 0
	if n := len(d.Panels); n > 0 {
		y = d.Panels[n-1].GridPos.Y + d.Panels[n-1].GridPos.H
	}
	if title != "" {
		open := false
		d.add(panel{Type: "row", Title: title, Collapsed: &open, Panels: &[]panel{}, GridPos: grid{H: 1, W: 24, Y: y}})
		y++
	}
	x := 0
	for _, p := range panels {
		p.GridPos = grid{H: height, W: p.GridPos.W, X: x, Y: y}
		x += p.GridPos.W
		d.add(p)
	}
}

func (d *Dashboard) add(p panel) {
	p.ID = len(d.Panels) + 1
	d.Panels = append(d.Panels, p)
}

// wide sets how many of the 24 columns a panel takes.
func (p panel) wide(columns int) panel {
	p.GridPos.W = columns
	return p
}

// mark adds annotations for the time of every sample.
func (d *Dashboard) mark(name, colour, title, expr string) {
	d.Annotations.List = append(d.Annotations.List, annotation{
		Name: name, Enable: true, IconColor: colour, Datasource: chosen(), Expr: scoped(expr), TitleFormat: title, Step: "60s",
	})
}

// markAt adds annotations for times that are the values of the samples, in unix milliseconds.
func (d *Dashboard) markAt(name, colour, title, expr string) {
	d.mark(name, colour, title, expr)
	d.Annotations.List[len(d.Annotations.List)-1].UseValueForTime = true
}
