package ari

import (
	"math/rand/v2"
	"time"
)

// Window is the time in which a CA wants a version to be replaced. Its end is behind its start.
type Window struct {
	Start, End time.Time
}

// Choose returns one moment of a window at random, so that the renewals of many spread over it
// (RFC 9773, section 4.2); now where the window is over. It has to be asked once for each window:
// who rolls again and again ends up near the window's start.
func Choose(w Window, now time.Time, random *rand.Rand) time.Time {
	if !w.End.After(now) || !w.End.After(w.Start) {
		return now
	}
	return w.Start.Add(time.Duration(random.Int64N(int64(w.End.Sub(w.Start)))))
}

// Pause returns how long to wait after so many failures in a row: a minute, ten, a hundred, then
// a day, each half longer or shorter at random.
func Pause(failures int, random *rand.Rand) time.Duration {
	pause := 24 * time.Hour
	switch {
	case failures <= 1:
		pause = time.Minute
	case failures == 2:
		pause = 10 * time.Minute
	case failures == 3:
		pause = 100 * time.Minute
	}
	return pause/2 + time.Duration(random.Int64N(int64(pause)))
}
