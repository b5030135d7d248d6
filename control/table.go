package control

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
)

// tableShards is how many pieces a table has. A write copies one piece; at
// 100,000 entries that is some 100 of them.
const tableShards = 1024

// table is a map that is read without locks and without allocation. Writers
// copy the piece they change; they are control acts, hence few.
type table[K comparable, V any] struct {
	seed   maphash.Seed
	mu     sync.Mutex
	shards [tableShards]atomic.Pointer[map[K]V]
}

func newTable[K comparable, V any]() *table[K, V] {
	return &table[K, V]{seed: maphash.MakeSeed()}
}

func (t *table[K, V]) shard(k K) *atomic.Pointer[map[K]V] {
	return &t.shards[maphash.Comparable(t.seed, k)%tableShards]
}

func (t *table[K, V]) get(k K) (V, bool) {
	if m := t.shard(k).Load(); m != nil {
		v, found := (*m)[k]
		return v, found
	}
	var none V
	return none, false
}

func (t *table[K, V]) set(k K, v V) {
	t.edit(k, func(m map[K]V) { m[k] = v })
}

func (t *table[K, V]) remove(k K) {
	t.edit(k, func(m map[K]V) { delete(m, k) })
}

func (t *table[K, V]) edit(k K, change func(map[K]V)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	shard := t.shard(k)
	next := map[K]V{}
	if old := shard.Load(); old != nil {
		next = maps.Clone(*old)
	}
	change(next)
	shard.Store(&next)
}

// each calls fn for every entry that is there at some moment of the walk.
func (t *table[K, V]) each(fn func(K, V)) {
	for i := range t.shards {
		if m := t.shards[i].Load(); m != nil {
			for k, v := range *m {
				fn(k, v)
			}
		}
	}
}
