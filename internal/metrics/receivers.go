package metrics

import (
	"io"
	"time"

	"github.com/certmedic/certmedic/alerting"
)

// receivers writes how each receiver does.
func receivers(w io.Writer, all []alerting.State, now time.Time) error {
	fs := families{}
	failing := fs.gauge("certmedic_receiver_failing", "1 if the receiver does not take what it is sent: it rejected the last notification, or did not take several in a row.")
	oldest := fs.gauge("certmedic_receiver_queue_oldest_seconds", "Age of the oldest notification that waits for the receiver; 0 if none does.")
	for _, s := range all {
		age := 0.0
		if !s.Oldest.IsZero() {
			age = max(0, now.Sub(s.Oldest).Seconds())
		}
		failing.add(bit(s.Failing), "", label{"receiver", s.Receiver})
		oldest.add(age, "", label{"receiver", s.Receiver})
	}
	return fs.write(w)
}
