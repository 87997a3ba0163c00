package pagerduty

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
)

const (
	maxKey    = 255 // bytes of a dedup key; PagerDuty counts characters
	escalated = "/escalated"
)

// memory is what has to be known of a conversation after a restart.
type memory struct {
	Open      bool               `json:"open,omitempty"`     // the alert of the conversation
	Severity  certmedic.Severity `json:"severity,omitempty"` // the worst that was told
	Expired   bool               `json:"expired,omitempty"`  // it was told that the certificate has expired
	Worse     time.Time          `json:"worse,omitzero"`     // when it got worse than the first trigger said
	Sent      string             `json:"sent,omitempty"`     // digest of the last trigger
	Escalated time.Time          `json:"escalated,omitzero"` // when it got worse after an acknowledgement: the second alert is open
	Acked     time.Time          `json:"acked,omitzero"`     // of the last acknowledgement that was passed on
	Changes   []string           `json:"changes,omitempty"`  // change events of the notification at hand that were sent
}

// recall reads a memory. One that cannot be read is as good as none: what is sent then has the
// same dedup keys.
func recall(data json.RawMessage) memory {
	var m memory
	if err := json.Unmarshal(data, &m); err != nil {
		return memory{}
	}
	return m
}

// keyOf returns the dedup key of a conversation: its name, or, where that is too long to have
// [escalated] behind it, its beginning with a hash.
func keyOf(conversation string) string {
	const most = maxKey - len(escalated)
	if len(conversation) <= most {
		return conversation
	}
	sum := sha256.Sum256([]byte(conversation))
	hash := "#" + hex.EncodeToString(sum[:16])
	end := most - len(hash)
	for !utf8.RuneStart(conversation[end]) {
		end--
	}
	return strings.ToValidUTF8(conversation[:end], "") + hash
}

// digest tells triggers apart.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
