package guard

// Reasons lists every reason to refuse, the closed set that metrics and documents show.
func Reasons() []Reason {
	return []Reason{
		NoNeed, ServedNewer, NothingStored, StoredInvalid, KeyDenied, Deploying, Settling, LockUnknown, NotBound,
		ModeObserve, ModePlan, NeedsApproval, Rejected, NotAllowed, Frozen, Backoff, Exhausted, HourlyBudget, OutsideWindow,
		ClockDoubt, SensesDisagree, BreakerOpen, FleetBreaker, BlastRadius, NothingToRun, UntrustedFile, NewerStored, RateLimited,
		NoCandidate, LoanStands, OnLoan, UnsupportedKind, NotLeader, CoordinatorLost, Elsewhere, Fenced, Drifting, NotServed,
	}
}
