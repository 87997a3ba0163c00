package app

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/certmedic/certmedic/internal/coord"
)

// memory keeps small records of this host alone.
type memory interface {
	SharedRecords() ([]coord.Record, error)
	SaveSharedRecord(r coord.Record) error
}

// lastMembers is the record of who was there when members were seen last.
const lastMembers = "members"

// remember keeps who is there: after a restart, without the coordinator, each member would else take itself for the
// only one, and all of them order at the same time.
func (c *cluster) remember(names []string) error {
	c.mu.Lock()
	c.known = names
	c.mu.Unlock()
	if c.memory == nil {
		return nil
	}
	data, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return c.memory.SaveSharedRecord(coord.Record{Key: lastMembers, Value: data, Revision: 1})
}

// recall reads what an earlier process remembered.
func (c *cluster) recall() error {
	all, err := c.memory.SharedRecords()
	if err != nil {
		return fmt.Errorf("reading who was in the cluster: %w", err)
	}
	for _, r := range all {
		if r.Key != lastMembers {
			continue
		}
		if err := json.Unmarshal(r.Value, &c.known); err != nil {
			return fmt.Errorf("reading who was in the cluster: %w", err)
		}
	}
	return nil
}

// rivals returns the members that would order without the coordinator, by name: this one, and who was seen last.
func (c *cluster) rivals() []string {
	names := namesOf(c.Members())
	c.mu.Lock()
	defer c.mu.Unlock()
	names = append(names, c.known...)
	slices.Sort(names)
	return slices.Compact(names)
}
