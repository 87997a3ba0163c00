package api

// ChangeKind says what kind of thing changed.
type ChangeKind string

// The kinds of changes.
const (
	ChangeIncident   ChangeKind = "incident"   // of a certificate, or of the fleet
	ChangeAction     ChangeKind = "action"     // it began, came a step further or ended; a rehearsal, too
	ChangeVersion    ChangeKind = "version"    // a new version is stored, or is served everywhere
	ChangeWord       ChangeKind = "word"       // a person approved, rejected, silenced or acknowledged something
	ChangeEverything ChangeKind = "everything" // the configuration was reloaded, or what was missed cannot be said
)

// ChangeKinds lists the kinds of changes.
func ChangeKinds() []ChangeKind {
	return []ChangeKind{ChangeIncident, ChangeAction, ChangeVersion, ChangeWord, ChangeEverything}
}

// Change says that something changed: it is the data of an event of GET /api/v1/events, whose name is
// the kind. What it is now is for the reader to ask.
type Change struct {
	Kind        ChangeKind `json:"kind"`
	Certificate string     `json:"certificate,omitempty"` // empty: none in particular
	ID          string     `json:"id,omitempty"`          // of the incident or the action
}
