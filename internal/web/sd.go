package web

import (
	"encoding/json"
	"net"
	"net/http"

	"github.com/prometheus/common/model"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// targetGroup is one group of Prometheus' http_sd form.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// sd lists every endpoint for Prometheus' http_sd, each as a group of its own. The labels
// __param_* are what /probe has to be asked with; a relabelling of __address__ to this
// daemon is all that is left to do.
func (s *Server) sd(w http.ResponseWriter, _ *http.Request) {
	groups := []targetGroup{}
	for _, v := range s.o.Backend.Status().Certificates {
		for _, ep := range v.Certs.Endpoints {
			groups = append(groups, groupOf(v, ep))
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups) // the client may have gone
}

func groupOf(v watchdog.View, ep certmedic.Endpoint) targetGroup {
	labels := map[string]string{}
	for _, chosen := range []map[string]string{v.Labels, ep.Labels} {
		for name, value := range chosen {
			if model.LegacyValidation.IsValidLabelName(name) { // older servers refuse a whole group for one
				labels[name] = value
			}
		}
	}
	if !v.Watched {
		labels["certificate"] = v.Name
	}
	protocol := ep.Protocol
	if protocol == "" {
		protocol = "tls"
	}
	labels["__meta_certmedic_protocol"] = protocol
	labels["__param_target"] = protocol + "://" + ep.Address
	if host, _, _ := net.SplitHostPort(ep.Address); ep.ServerName != "" && ep.ServerName != host {
		labels["__meta_certmedic_server_name"] = ep.ServerName
		labels["__param_hostname"] = ep.ServerName
	}
	if ep.Module != "" {
		labels["__param_module"] = ep.Module
	}
	return targetGroup{Targets: []string{ep.Address}, Labels: labels}
}
