package slack

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The action IDs of the buttons. What they are about is in the button's value, see [Value].
const (
	ActionAck     = "certmedic_ack"
	ActionSilence = "certmedic_silence_1h"
	ActionApprove = "certmedic_approve"
	ActionReject  = "certmedic_reject"
)

// Value is what a button carries, as JSON of at most 2,000 characters: the conversation that
// is looked after, the certificate that is silenced, the plan that is approved or rejected.
type Value struct {
	Conversation string `json:"conversation"`
	Certificate  string `json:"certificate,omitempty"`
	Approval     string `json:"approval,omitempty"` // the id
	Hash         string `json:"hash,omitempty"`     // of the plan; the approval is for this one only
}

// encode reports false where the value would not fit.
func (v Value) encode() (string, bool) {
	data, err := json.Marshal(v)
	if err != nil || length(string(data)) > maxValue {
		return "", false
	}
	return string(data), true
}

// ParseValue reads the value of a button. Slack sends it back as it was posted.
func ParseValue(s string) (Value, error) {
	var v Value
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return Value{}, fmt.Errorf("reading a button's value: %w", err)
	}
	if v.Conversation == "" {
		return Value{}, errors.New("reading a button's value: it names no conversation")
	}
	return v, nil
}
