package api

import "time"

// Cluster is what a member knows of its cluster. Who acts for a certificate is said beside that.
type Cluster struct {
	Member      string    `json:"member"`      // that answered
	Coordinator string    `json:"coordinator"` // etcd, dir or s3
	Shard       bool      `json:"shard"`       // each member watches its share
	Speaks      bool      `json:"speaks"`      // this member tells people, or with Shard: each of its share
	Members     []Member  `json:"members"`     // that live, by name, as they were last seen
	Lost        time.Time `json:"lost,omitzero"`
	Trouble     string    `json:"trouble,omitempty"` // why the coordinator cannot be asked since Lost
}

// Member is one certmedic of several.
type Member struct {
	Name    string    `json:"name"`
	Address string    `json:"address,omitempty"` // of its page, as the others reach it
	Started time.Time `json:"started"`
}
