package storm_test

import (
	"fmt"
	"io"
	"testing"
	"text/tabwriter"
	"time"
)

// tally is what a storm came to.
type tally struct {
	kills, conversations int
	took                 time.Duration

	lostTriggers, lostEnds int // of each place, what it never heard of
	pagesTwice, postsTwice int

	silences, forgottenSilences int
	acks, forgottenAcks         int

	limited int // calls that were too many
	faults  []string
	why     []string // what was counted, in sentences
}

// maxWhy bounds the sentences.
const maxWhy = 30

func (t *tally) whyLocked(format string, args ...any) {
	if len(t.why) < maxWhy {
		t.why = append(t.why, fmt.Sprintf(format, args...))
	}
}

// count adds to n what is wrong, and says so.
func (t *tally) count(n *int, wrong int, format string, args ...any) {
	if wrong <= 0 {
		return
	}
	*n += wrong
	t.whyLocked(format, args...)
}

// judge counts what the fakes hold of all conversations: of those of which people must have been told,
// wants, and of those of which nobody may have been, hushed. broken are those whose silence did not hold.
func (t *tally) judge(all map[string]*told, wants, hushed, broken map[string]bool) {
	for conversation := range wants {
		k := of(all, conversation)
		t.count(&t.lostTriggers, ones(k.triggers == 0, k.posts == 0), "%s was never told: %d pages, %d posts", conversation, k.triggers, k.posts)
	}
	for conversation, quiet := range hushed {
		if k := of(all, conversation); quiet && k.triggers+k.posts > 0 {
			broken[conversation] = true
			t.whyLocked("%s was told although it was silenced", conversation)
		}
	}
	t.forgottenSilences = len(broken)
	for conversation, k := range all {
		if k.triggers+k.posts > 0 {
			t.conversations++
		}
		t.count(&t.lostEnds, ones(k.open, k.posts > 0 && !k.over), "the end of %s was not told: it is open at PagerDuty: %v; over in the channel: %v", conversation, k.open, k.over)
		t.count(&t.pagesTwice, k.twice, "%s paged %d times more than once", conversation, k.twice)
		t.count(&t.postsTwice, k.again, "%s was posted %d times more than once: %q", conversation, k.again, k.twiceSaid)
	}
}

// ones counts what is true.
func ones(all ...bool) int {
	n := 0
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

// wrong reports whether anything was lost, told twice or forgotten.
func (t *tally) wrong() bool {
	return t.lostTriggers+t.lostEnds+t.pagesTwice+t.postsTwice+t.forgottenSilences+t.forgottenAcks > 0
}

// table writes the tallies side by side.
func table(w io.Writer, names []string, all []tally) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "\tkills -9\tconversations\tlost triggers\tlost ends\tpages twice\tposts twice\tforgotten silences\tforgotten acks\t429\tseconds")
	for i, t := range all {
		acks := "-"
		if t.acks > 0 {
			acks = fmt.Sprintf("%d of %d", t.forgottenAcks, t.acks)
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d of %d\t%s\t%d\t%.0f\n", names[i], t.kills, t.conversations, t.lostTriggers, t.lostEnds,
			t.pagesTwice, t.postsTwice, t.forgottenSilences, t.silences, acks, t.limited, t.took.Seconds())
	}
	return tw.Flush()
}

func TestEveryCountSees(t *testing.T) {
	for _, tt := range []struct {
		about  string
		held   told
		hushed bool
		want   string
	}{
		{"all is well", told{triggers: 1, posts: 1, over: true}, false, "0 0 0 0 0"},
		{"nobody was paged", told{posts: 1, over: true}, false, "1 0 0 0 0"},
		{"nobody was told at all", told{}, false, "2 0 0 0 0"},
		{"PagerDuty still waits", told{triggers: 1, open: true, posts: 1, over: true}, false, "0 1 0 0 0"},
		{"the channel still waits", told{triggers: 1, posts: 1}, false, "0 1 0 0 0"},
		{"two pages", told{triggers: 2, twice: 1, posts: 1, over: true}, false, "0 0 1 0 0"},
		{"two posts", told{triggers: 1, posts: 2, again: 1, over: true}, false, "0 0 0 1 0"},
		{"a silence did not hold", told{triggers: 1, posts: 1, over: true}, true, "0 0 0 0 1"},
		{"a silence held", told{}, true, "0 0 0 0 0"},
	} {
		var got tally
		all, wants, hushed := map[string]*told{"c": &tt.held}, map[string]bool{"c": true}, map[string]bool{}
		if tt.hushed {
			wants, hushed = hushed, wants
		}
		got.judge(all, wants, hushed, map[string]bool{})
		if s := fmt.Sprint(got.lostTriggers, got.lostEnds, got.pagesTwice, got.postsTwice, got.forgottenSilences); s != tt.want {
			t.Errorf("%s: counted %s, want %s", tt.about, s, tt.want)
		}
		if got.wrong() != (tt.want != "0 0 0 0 0") || got.wrong() != (len(got.why) > 0) {
			t.Errorf("%s: wrong %v, because %q", tt.about, got.wrong(), got.why)
		}
	}
}
