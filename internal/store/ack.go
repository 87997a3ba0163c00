package store

import "github.com/certmedic/certmedic/alerting"

// SaveAck keeps who looks after a conversation, in place of who did before.
func (s *Store) SaveAck(conversation string, ack alerting.Ack) error {
	return s.put(bucketAcks, conversation, ack)
}

// ForgetAck forgets who looks after a conversation; that nobody does is no error.
func (s *Store) ForgetAck(conversation string) error { return s.remove(bucketAcks, conversation) }

// Acks returns who looks after conversations, by the conversation.
func (s *Store) Acks() (map[string]alerting.Ack, error) {
	all := map[string]alerting.Ack{}
	err := s.each(bucketAcks, false, func(key string, value []byte) (bool, error) {
		var ack alerting.Ack
		err := decode(bucketAcks, key, value, &ack)
		all[key] = ack
		return true, err
	})
	return all, err
}
