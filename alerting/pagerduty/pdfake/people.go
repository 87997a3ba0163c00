package pdfake

import "fmt"

// Acknowledge is what a person does to the open incident of a dedup key: it is silent from now on.
func (s *Service) Acknowledge(key, who string) error {
	return s.act(key, func(i *Incident) {
		i.Assignee = who
		s.move(i, Acknowledged, "incident.acknowledged", person(who))
	})
}

// Unacknowledge takes an acknowledgement back, as a person does, or PagerDuty itself after a time
// (who is empty then). People are called again.
func (s *Service) Unacknowledge(key, who string) error {
	return s.act(key, func(i *Incident) {
		if i.Status != Acknowledged {
			return
		}
		i.Pages++
		s.move(i, Triggered, "incident.unacknowledged", person(who))
	})
}

// Resolve is what a person does to the open incident of a dedup key.
func (s *Service) Resolve(key, who string) error {
	return s.act(key, func(i *Incident) { s.move(i, Resolved, "incident.resolved", person(who)) })
}

// Reassign gives the open incident of a dedup key to somebody else, who is called.
func (s *Service) Reassign(key, who, to string) error {
	return s.act(key, func(i *Incident) {
		i.Assignee, i.Status = to, Triggered
		i.Pages++
		s.publish("incident.reassigned", i, person(who))
	})
}

// Escalate gives the open incident of a dedup key to the next level of its policy, who is called.
func (s *Service) Escalate(key, to string) error {
	return s.act(key, func(i *Incident) {
		i.Assignee, i.Status = to, Triggered
		i.Pages++
		s.publish("incident.escalated", i, person(""))
	})
}

func (s *Service) act(key string, do func(*Incident)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.open("", key)
	if i == nil {
		return fmt.Errorf("no open incident has the dedup key %q", key)
	}
	do(i)
	return nil
}
