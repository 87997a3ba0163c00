package page

// keepers adds to incidents who looks after them.
func (d Data) keepers(incidents []incident) {
	for i, in := range incidents {
		if ack, ok := d.Acknowledged[in.DedupKey]; ok && in.Open() {
			incidents[i].Keeper, incidents[i].Kept = ack.By, at(ack.At, d.Now)
		}
	}
}
