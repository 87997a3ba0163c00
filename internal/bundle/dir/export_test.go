package dir

// OnStep has the store call step after each of its changes.
func OnStep(s *Store, step func()) { s.step = step }

// How many generations stay, and how old what is abandoned is.
const (
	KeepGenerations = keepGenerations
	Abandoned       = abandoned
)
