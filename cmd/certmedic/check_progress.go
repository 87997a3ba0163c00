package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
)

// progressEvery is the least time between two states of the progress line.
const progressEvery = 100 * time.Millisecond

const eraseLine = "\r\x1b[K"

// progress keeps a line on the terminal that says how far a check of many targets is. It
// may be used by several goroutines. Without a terminal it writes nothing.
type progress struct {
	out   io.Writer // nil: nothing is shown
	total int       // 0: unknown

	mu       sync.Mutex
	done     int
	critical int
	drawn    time.Time // when the line was drawn last
	visible  bool
}

func newProgress(e *environment, args int, fromStdin bool) *progress {
	p := &progress{}
	if (args > 1 || fromStdin) && isTerminal(e.stderr) && e.getenv("TERM") != "dumb" {
		p.out = e.stderr
	}
	if !fromStdin {
		p.total = args
	}
	return p
}

// count takes note of a result and draws the line again, not too often.
func (p *progress) count(r check.Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if r.Status == certmedic.StatusCritical {
		p.critical++
	}
	if p.out != nil && time.Since(p.drawn) >= progressEvery {
		p.draw()
	}
}

func (p *progress) draw() {
	of := ""
	if p.total >= p.done {
		of = fmt.Sprintf("/%d", p.total)
	}
	fmt.Fprintf(p.out, "%s%d%s checked, %d critical", eraseLine, p.done, of, p.critical)
	p.drawn, p.visible = time.Now(), true
}

// aside takes the line away while other output is written.
func (p *progress) aside(write func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return write()
}

// erase takes the line away for good.
func (p *progress) erase() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.out = nil
}

func (p *progress) clear() {
	if p.visible {
		fmt.Fprint(p.out, eraseLine)
		p.visible = false
	}
}
