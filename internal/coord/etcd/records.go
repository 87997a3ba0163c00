package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/certmedic/certmedic/internal/coord"
)

// record is what the key of a record holds.
type record struct {
	Token uint64    `json:"token"`
	Value []byte    `json:"value"`
	Time  time.Time `json:"time"` // by the writer's clock: etcd tells none
}

func (e *Engine) decode(kv *mvccpb.KeyValue) (coord.Record, error) {
	var r record
	if err := json.Unmarshal(kv.Value, &r); err != nil {
		return coord.Record{}, fmt.Errorf("reading %q: %w", kv.Key, err)
	}
	key := strings.TrimPrefix(string(kv.Key), e.recordKey(""))
	return coord.Record{Key: key, Value: r.Value, Token: r.Token, Revision: uint64(kv.ModRevision), Time: r.Time}, nil
}

// Get implements [coord.Records].
func (e *Engine) Get(ctx context.Context, key string) (coord.Record, bool, error) {
	if err := coord.CheckName(key); err != nil {
		return coord.Record{}, false, fmt.Errorf("reading a record: %w", err)
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err != nil {
		return coord.Record{}, false, fmt.Errorf("reading the record %q: %w", key, err)
	}
	return e.get(ctx, client, key)
}

func (e *Engine) get(ctx context.Context, client *clientv3.Client, key string) (coord.Record, bool, error) {
	answer, err := client.Get(ctx, e.recordKey(key))
	if err != nil {
		return coord.Record{}, false, fmt.Errorf("reading the record %q: %w", key, err)
	}
	if len(answer.Kvs) == 0 {
		return coord.Record{}, false, nil
	}
	r, err := e.decode(answer.Kvs[0])
	return r, err == nil, err
}

// Put implements [coord.Records].
func (e *Engine) Put(ctx context.Context, key string, revision, token uint64, value []byte) (coord.Record, error) {
	if err := coord.CheckRecord(key, value); err != nil {
		return coord.Record{}, fmt.Errorf("writing a record: %w", err)
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	r := coord.Record{Key: key, Value: value, Token: token, Revision: revision, Time: time.Now().UTC().Round(0)}
	if err == nil {
		r, err = e.put(ctx, client, r)
	}
	if err != nil {
		return coord.Record{}, fmt.Errorf("writing the record %q: %w", key, err)
	}
	return r, nil
}

// put writes a record upon its revision. The token of that very revision is what was read, as the
// transaction fails upon any other.
func (e *Engine) put(ctx context.Context, client *clientv3.Client, r coord.Record) (coord.Record, error) {
	old, _, err := e.get(ctx, client, r.Key)
	if err != nil {
		return r, err
	}
	if old.Revision != r.Revision || r.Token < old.Token {
		return r, coord.ErrStale
	}
	data, err := json.Marshal(record{Token: r.Token, Value: r.Value, Time: r.Time})
	if err != nil {
		return r, err
	}
	key := e.recordKey(r.Key)
	answer, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", int64(r.Revision))).
		Then(clientv3.OpPut(key, string(data))).
		Commit()
	if err != nil {
		return r, err
	}
	if !answer.Succeeded {
		return r, coord.ErrStale
	}
	r.Revision = uint64(answer.Header.Revision)
	return r, nil
}

// List implements [coord.Records].
func (e *Engine) List(ctx context.Context, prefix string) ([]coord.Record, error) {
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err != nil {
		return nil, fmt.Errorf("listing the records below %q: %w", prefix, err)
	}
	answer, err := client.Get(ctx, e.recordKey(prefix), clientv3.WithPrefix(), clientv3.WithLimit(maxRecords),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, fmt.Errorf("listing the records below %q: %w", prefix, err)
	}
	if answer.More {
		return nil, fmt.Errorf("there are %d records below %q, more than %d", answer.Count, prefix, maxRecords)
	}
	var all []coord.Record
	for _, kv := range answer.Kvs {
		r, err := e.decode(kv)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}
