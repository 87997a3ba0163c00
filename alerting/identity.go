package alerting

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Identity returns 32 hexadecimal digits that stand for the event: the same for every attempt to
// deliver it, after a restart too, and others for every other event. Receivers by which a
// repetition can be recognised get it.
func (e Event) Identity() string {
	of := e.Conversation() + "\x00" + e.key() + "\x00" + string(e.Kind) + "\x00" + strconv.FormatInt(e.Time.UnixNano(), 10)
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:16])
}
