package dashboards

// column is a column of a table: a label, or the value of a query.
type column struct {
	of     string // the label; else "A", "B" and so on for the value of that query
	as     string // what it is called; empty: as the label
	unit   string
	digits int // behind the point, where there is a unit
	names  []object
	bands  *thresholds
	cell   string // how it is coloured; empty: not
	links  []object
}

// field returns what Grafana calls the column's field.
func (c *column) field(single bool) string {
	switch {
	case len(c.of) != 1:
		return c.of
	case single:
		return "Value"
	}
	return "Value #" + c.of
}

func (c *column) title() string {
	if c.as == "" {
		return c.of
	}
	return c.as
}

// table shows what is now, a row for all values with the same labels. Rows without a value of
// the first query are left out.
func table(title, about, sorted string, columns []column, exprs ...string) panel {
	p := ask("table", title, about, targets(true, "table", expressions(exprs...)))
	p.FieldConfig.Defaults.Custom = object{"align": "auto", "cellOptions": object{"type": "auto"}, "filterable": true}
	p.Options = object{
		"showHeader": true, "cellHeight": "sm",
		"footer": object{"show": false, "reducer": []string{"sum"}, "countRows": false, "fields": ""},
		"sortBy": []object{{"displayName": sorted, "desc": false}},
	}
	single := len(exprs) == 1
	if !single {
		first := object{"fieldName": "Value #A", "config": object{"id": "isNotNull", "options": object{}}}
		p.Transformations = append(p.Transformations,
			transform{"merge", object{}},
			transform{"filterByValue", object{"type": "include", "match": "all", "filters": []object{first}}})
	}
	index, rename := object{}, object{}
	for i, c := range columns {
		index[c.field(single)] = i
		if c.title() != c.field(single) {
			rename[c.field(single)] = c.title()
		}
		if properties := c.properties(); len(properties) > 0 {
			p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{object{"id": "byName", "options": c.title()}, properties})
		}
	}
	p.Transformations = append(p.Transformations,
		transform{"organize", object{"excludeByName": object{"Time": true}, "indexByName": index, "renameByName": rename}})
	return p
}

func (c *column) properties() []object {
	var all []object
	set := func(id string, value any) { all = append(all, object{"id": id, "value": value}) }
	if c.unit != "" {
		set("unit", c.unit)
		set("decimals", c.digits)
	}
	if c.bands != nil {
		set("thresholds", *c.bands)
	}
	if c.names != nil {
		set("mappings", c.names)
	}
	if c.links != nil {
		set("links", c.links)
	}
	switch c.cell {
	case "":
	case "gauge":
		set("min", 0)
		set("max", 1)
		set("custom.cellOptions", object{"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
	default:
		set("custom.cellOptions", object{"type": c.cell})
	}
	return all
}
