package store

import (
	"math"
	"reflect"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/certmedic/certmedic/internal/coord"
)

func TestTokensAndSharedRecordsSurvive(t *testing.T) {
	dir := t.TempDir()
	records := []coord.Record{
		{Key: "order/blog", Value: []byte{0, 255}, Token: math.MaxUint64, Revision: 1, Time: start},
		{Key: "order/shop", Value: []byte("intent"), Token: 2, Revision: 3, Time: start},
	}
	for round := range uint64(3) {
		s, err := Open(dir, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(4) {
			if token, err := s.NextToken("shop"); err != nil || token != round*4+n+1 {
				t.Errorf("start %d, lease %d got the token %d, %v", round, n, token, err)
			}
		}
		if token, err := s.NextToken("blog"); err != nil || token != round+1 {
			t.Errorf("another name at start %d got the token %d, %v", round, token, err)
		}
		for _, r := range records {
			if err := s.SaveSharedRecord(coord.Record{Key: r.Key, Value: []byte("earlier")}); err != nil {
				t.Fatal(err)
			}
			if err := s.SaveSharedRecord(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenRead(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.SharedRecords(); err != nil || !reflect.DeepEqual(got, records) {
		t.Errorf("kept are %+v, %v, want %+v", got, err, records)
	}
}

func TestBrokenTokenIsNotCountedFrom(t *testing.T) {
	s, err := Open(t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketTokens)).Put([]byte("shop"), []byte("7")) }); err != nil {
		t.Fatal(err)
	}
	if token, err := s.NextToken("shop"); err == nil {
		t.Errorf("a broken count gave the token %d", token)
	}
}
