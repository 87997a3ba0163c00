package store

import "github.com/certmedic/certmedic/remediate/approval"

var _ approval.Store = (*Store)(nil)

// SaveApproval keeps a plan that waits for a person, or what a person said of it.
func (s *Store) SaveApproval(a approval.Approval) error { return s.put(bucketApprovals, a.ID, a) }

// Approvals returns every plan that waits and those before that are kept.
func (s *Store) Approvals() ([]approval.Approval, error) {
	all := []approval.Approval{}
	err := s.each(bucketApprovals, false, func(key string, value []byte) (bool, error) {
		var a approval.Approval
		err := decode(bucketApprovals, key, value, &a)
		all = append(all, a)
		return true, err
	})
	return all, err
}

// DropApproval forgets a plan; an ID that is not there is no error.
func (s *Store) DropApproval(id string) error { return s.remove(bucketApprovals, id) }
