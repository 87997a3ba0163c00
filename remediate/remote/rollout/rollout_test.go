package rollout_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/certmedic/certmedic/remediate/remote/rollout"
)

// record makes a record of hosts in one wave.
func record(wave int, states map[string]rollout.State) rollout.Record {
	r := rollout.Record{}
	for h, s := range states {
		r[h] = rollout.Progress{State: s, Wave: wave}
	}
	return r
}

// with merges records.
func with(all ...rollout.Record) rollout.Record {
	r := rollout.Record{}
	for _, one := range all {
		maps.Copy(r, one)
	}
	return r
}

func TestNext(t *testing.T) {
	four := rollout.Plan{Hosts: []string{"a", "b", "c", "d"}, Wave: 50}
	canary := record(0, map[string]rollout.State{"a": rollout.Done})
	for _, row := range []struct {
		about  string
		plan   rollout.Plan
		record rollout.Record
		want   rollout.Step
	}{
		{
			"one host gets it first", four, nil,
			rollout.Step{Joined: []string{"a"}, Begin: []string{"a"}},
		},
		{
			"while it is at work nobody else begins", four, record(0, map[string]rollout.State{"a": rollout.Running}),
			rollout.Step{},
		},
		{
			"once it is done a wave begins", four, canary,
			rollout.Step{Wave: 1, Joined: []string{"b", "c"}, Begin: []string{"b", "c"}},
		},
		{
			"a wave that is larger than the ceiling begins bit by bit",
			rollout.Plan{Hosts: four.Hosts, Wave: 100, Parallel: 2},
			canary,
			rollout.Step{Wave: 1, Joined: []string{"b", "c", "d"}, Begin: []string{"b", "c"}},
		},
		{
			"the next wave waits for the last host of this one", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Done, "c": rollout.Running})),
			rollout.Step{Wave: 1},
		},
		{
			"a canary that was put back stops it", four, record(0, map[string]rollout.State{"a": rollout.PutBack}),
			rollout.Step{Over: true, Why: `"a", which got it first, did not take it`},
		},
		{
			"a canary stops it whatever is tolerated",
			rollout.Plan{Hosts: four.Hosts, Tolerated: 100},
			record(0, map[string]rollout.State{"a": rollout.Failed}),
			rollout.Step{Over: true, Why: `"a", which got it first, did not take it`},
		},
		{
			"for a canary that cannot be reached the next host steps in", four, record(0, map[string]rollout.State{"a": rollout.Unreachable}),
			rollout.Step{Joined: []string{"b"}, Begin: []string{"b"}},
		},
		{
			"after a failure its wave goes on", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Failed, "c": rollout.NotBegun})),
			rollout.Step{Wave: 1, Begin: []string{"c"}, Why: "1 of 4 hosts did not take it"},
		},
		{
			"and no further one begins", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Failed, "c": rollout.Done})),
			rollout.Step{Wave: 1, Over: true, Why: "1 of 4 hosts did not take it"},
		},
		{
			"unless so many failures are tolerated",
			rollout.Plan{Hosts: four.Hosts, Wave: 50, Tolerated: 25},
			with(canary, record(1, map[string]rollout.State{"b": rollout.Failed, "c": rollout.Done})),
			rollout.Step{Wave: 2, Joined: []string{"d"}, Begin: []string{"d"}},
		},
		{
			"a host that cannot be reached holds nobody up", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Unreachable, "c": rollout.Done})),
			rollout.Step{Wave: 2, Joined: []string{"d"}, Begin: []string{"d"}},
		},
		{
			"when it comes back it begins", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Unreachable, "c": rollout.Done, "d": rollout.Done})).Retry("b"),
			rollout.Step{Wave: 1, Begin: []string{"b"}},
		},
		{
			"but not once it stopped", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Unreachable, "c": rollout.Failed})).Retry("b"),
			rollout.Step{Wave: 1, Over: true, Why: "1 of 4 hosts did not take it"},
		},
		{
			"what was running when we were killed begins again", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Running, "c": rollout.Done})).Resume(),
			rollout.Step{Wave: 1, Begin: []string{"b"}},
		},
		{
			"when all are done it is over", four,
			with(canary, record(1, map[string]rollout.State{"b": rollout.Done, "c": rollout.Done, "d": rollout.Done})),
			rollout.Step{Wave: 1, Over: true},
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			got := row.plan.Next(row.record)
			if got.Wave != row.want.Wave || got.Over != row.want.Over || got.Why != row.want.Why ||
				!slices.Equal(got.Joined, row.want.Joined) || !slices.Equal(got.Begin, row.want.Begin) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		about string
		plan  rollout.Plan
		wrong bool
	}{
		{"hosts are enough", rollout.Plan{Hosts: []string{"a"}}, false},
		{"no hosts", rollout.Plan{}, true},
		{"a host twice", rollout.Plan{Hosts: []string{"a", "a"}}, true},
		{"a share of more than all", rollout.Plan{Hosts: []string{"a"}, Wave: 101}, true},
		{"a negative ceiling", rollout.Plan{Hosts: []string{"a"}, Parallel: -1}, true},
	} {
		if err := row.plan.Check(); (err != nil) != row.wrong {
			t.Errorf("%s: %v", row.about, err)
		}
	}
}

// TestRollouts plays roll-outs with random hosts, failures, restarts and returns, and holds the
// promises at each step.
func TestRollouts(t *testing.T) {
	for seed := range uint64(2000) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { play(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func play(t *testing.T, random *rand.Rand) {
	plan := rollout.Plan{
		Canaries: random.IntN(3), Wave: random.IntN(101), Parallel: random.IntN(4), Tolerated: random.IntN(2) * random.IntN(60),
	}
	for n := range 1 + random.IntN(12) {
		plan.Hosts = append(plan.Hosts, fmt.Sprint("h", n))
	}
	r, waves := rollout.Record{}, 0
	for range 1000 {
		if random.IntN(20) == 0 {
			r = r.Resume()
		}
		step := plan.Next(r)
		enter(t, plan, r, step)
		if step.Wave > waves {
			proveMayGoOn(t, plan, r)
			waves = step.Wave
		}
		if step.Over {
			if step.Why == "" && left(plan, r) > 0 && reached(plan, r) {
				t.Fatalf("over without a reason: %+v %+v", plan, r)
			}
			if len(plan.Results(r)) != len(plan.Hosts) {
				t.Fatalf("%d results for %d hosts", len(plan.Results(r)), len(plan.Hosts))
			}
			return
		}
		end(r, random)
	}
	t.Fatalf("it never ends: %+v %+v", plan, r)
}

// enter records a step and holds that no host began twice and no more than allowed are at work.
func enter(t *testing.T, plan rollout.Plan, r rollout.Record, step rollout.Step) {
	for _, h := range step.Joined {
		if _, ok := r[h]; ok {
			t.Fatalf("%q joined twice", h)
		}
		r[h] = rollout.Progress{State: rollout.NotBegun, Wave: step.Wave}
	}
	for _, h := range step.Begin {
		if r[h].State != rollout.NotBegun {
			t.Fatalf("%q began as %q", h, r[h].State)
		}
		q := r[h]
		q.State = rollout.Running
		r[h] = q
	}
	ceiling := plan.Parallel
	if ceiling == 0 {
		ceiling = 5
	}
	if n := in(r, rollout.Running); n > ceiling {
		t.Fatalf("%d hosts at work, %d allowed", n, ceiling)
	}
	if in(r, rollout.Done) == 0 && in(r, rollout.Running) > max(1, plan.Canaries) {
		t.Fatalf("%d hosts at work before any was done", in(r, rollout.Running))
	}
}

// proveMayGoOn holds, when a wave has begun, that no failure forbids it.
func proveMayGoOn(t *testing.T, plan rollout.Plan, r rollout.Record) {
	failed := 0
	for h, q := range r {
		if q.State == rollout.Failed || q.State == rollout.PutBack {
			failed++
			if q.Wave == 0 {
				t.Fatalf("a wave began although the canary %q failed", h)
			}
		}
	}
	if failed*100 > plan.Tolerated*len(plan.Hosts) {
		t.Fatalf("a wave began after %d failures of %d hosts, %d%% are tolerated", failed, len(plan.Hosts), plan.Tolerated)
	}
}

// end gives some of the hosts at work their result, and now and then lets one that was unreachable
// try again.
func end(r rollout.Record, random *rand.Rand) {
	results := []rollout.State{rollout.Done, rollout.Done, rollout.Done, rollout.Done, rollout.PutBack, rollout.Failed, rollout.Unreachable}
	for _, h := range slices.Sorted(maps.Keys(r)) {
		q := r[h]
		if q.State == rollout.Running && random.IntN(2) == 0 {
			q.State = results[random.IntN(len(results))]
			r[h] = q
		}
		if random.IntN(30) == 0 {
			maps.Copy(r, r.Retry(h))
		}
	}
}

func in(r rollout.Record, state rollout.State) int {
	n := 0
	for _, q := range r {
		if q.State == state {
			n++
		}
	}
	return n
}

func left(plan rollout.Plan, r rollout.Record) int {
	n := 0
	for _, result := range plan.Results(r) {
		if result.State == rollout.NotBegun {
			n++
		}
	}
	return n
}

// reached reports whether any host answered.
func reached(plan rollout.Plan, r rollout.Record) bool {
	return in(r, rollout.Unreachable) < len(plan.Hosts)
}
