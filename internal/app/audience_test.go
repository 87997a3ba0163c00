package app

import (
	"testing"

	"github.com/certmedic/certmedic/internal/api"
)

func TestWhoDoesNotReadIsToldThatSomethingWasMissed(t *testing.T) {
	var l audience
	changes, end, ok := l.Watch()
	if !ok {
		t.Fatal("nobody may watch")
	}
	for range mostUnread + 1 {
		l.tell(api.Change{Kind: api.ChangeAction})
	}
	if got := <-changes; got.Kind != api.ChangeEverything {
		t.Errorf("the first is %v", got)
	}
	l.said("shop")
	if got := <-changes; got != (api.Change{Kind: api.ChangeWord, Certificate: "shop"}) {
		t.Errorf("the next is %v", got)
	}
	end()
	end()
	if _, open := <-changes; open {
		t.Error("the watch goes on")
	}
	l.said("shop") // reaches nobody
}

func TestWatchersAreBounded(t *testing.T) {
	var l audience
	var ends []func()
	for range mostWatchers {
		_, end, ok := l.Watch()
		if !ok {
			t.Fatal("too few may watch")
		}
		ends = append(ends, end)
	}
	if _, _, ok := l.Watch(); ok {
		t.Error("there is no bound")
	}
	ends[0]()
	last, _, ok := l.Watch()
	if !ok {
		t.Error("nobody takes the place of who went")
	}
	l.close()
	if _, open := <-last; open {
		t.Error("the watch goes on after the end")
	}
	if _, _, ok := l.Watch(); ok {
		t.Error("one may watch after the end")
	}
}
