package session

import (
	"sync"

	"github.com/certmedic/certmedic/internal/redact"
)

// cutMark stands where output was left out.
const cutMark = "\n[... output left out ...]\n"

// kept keeps the beginning and the end of what is written to it. It never fails and never blocks,
// so that a command is not stopped by what it says.
type kept struct {
	mu         sync.Mutex
	half       int
	head, tail []byte
	cut        bool
}

func newKept(most int) *kept { return &kept{half: most / 2} }

// Write takes everything.
func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := min(len(p), k.half-len(k.head))
	k.head = append(k.head, p[:n]...)
	k.tail = append(k.tail, p[n:]...)
	if over := len(k.tail) - k.half; over > 0 {
		k.tail, k.cut = append(k.tail[:0:0], k.tail[over:]...), true
	}
	return len(p), nil
}

// text returns what was kept as plain text without secrets, and whether something was left out.
// It is cleaned as one: a key whose middle was left out has its begin in the head and its end in
// the tail.
func (k *kept) text() (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	mark := ""
	if k.cut {
		mark = cutMark
	}
	return redact.Text(redact.Plain(string(k.head) + mark + string(k.tail))), k.cut
}
