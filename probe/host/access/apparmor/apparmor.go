// Package apparmor says whether a profile of AppArmor lets a process read a path, from the
// profile's text as apparmor.d(5) has it: rules for files with their globs and variables,
// included files, rules that deny. It is called by package access. It promises to read within
// bounds, and to say where something was not understood that could change its answer.
package apparmor

import (
	"fmt"
	"strings"
)

// Verdict is what a profile says of a path.
type Verdict struct {
	Allowed bool
	Why     string // for people, with the file and the line; empty where it is allowed
	Sure    bool   // false: something of the profile was not understood
}

// Reads says whether a profile allows to read a file. dir is where profiles are, /etc/apparmor.d;
// profile is its name as the kernel has it, "NAME" or "NAME//CHILD", or several that are stacked,
// all of which have to allow it; path is free of links; owner says whether who asks owns the file.
// The error says that no such profile is there, or that it cannot be read.
func Reads(dir, profile, path string, owner bool) (Verdict, error) {
	all := Verdict{Allowed: true, Sure: true}
	for name := range strings.SplitSeq(profile, "//&") {
		verdict, err := reads(dir, name, path, owner)
		if err != nil || !verdict.Allowed {
			return verdict, err
		}
		all.Sure = all.Sure && verdict.Sure
	}
	return all, nil
}

func reads(dir, profile, path string, owner bool) (Verdict, error) {
	b, err := find(dir, profile)
	if err != nil {
		return Verdict{}, fmt.Errorf("asking the profile %q: %w", profile, err)
	}
	return b.judge(profile, path, owner), nil
}

// judge says what a profile, whose name is given for people, says of a path.
func (b *block) judge(profile, path string, owner bool) Verdict {
	allowed := b.open
	for _, r := range b.rules {
		if r.owner && !owner || !strings.Contains(r.perms, "r") {
			continue
		}
		matches, err := r.matches(b.variables, path)
		if err != nil {
			b.unclear = append(b.unclear, r.place)
		}
		if !matches {
			continue
		}
		if r.deny {
			return Verdict{Why: fmt.Sprintf("%s of the profile %q denies to read it", r.place, profile), Sure: true}
		}
		allowed = true
	}
	if allowed {
		return Verdict{Allowed: true, Sure: len(b.unclear) == 0}
	}
	why := fmt.Sprintf("the profile %q (%s) has no rule that allows to read it", profile, b.place)
	if len(b.unclear) > 0 {
		why += fmt.Sprintf(", as far as it is understood (not %s)", b.unclear[0])
	}
	return Verdict{Why: why, Sure: len(b.unclear) == 0}
}
