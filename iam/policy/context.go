package policy

// Context holds the condition keys of a request. Keys are not case-sensitive
// in ASCII letters. The zero Context is empty. It may be read by several
// goroutines at once, as long as none changes it and nothing is to be filled
// in later.
type Context struct {
	entries []entry
	values  []string
	// seen has a bit for each key's hash: most keys that are looked for are not
	// there, and one look tells.
	seen  uint64
	later Filler
}

// Filler fills in the keys of a context.
type Filler interface{ Fill(*Context) }

// FillLater empties the context and has it filled in when the first key is
// looked for, or set. Many decisions look for none.
func (c *Context) FillLater(f Filler) {
	c.Reset()
	c.later = f
}

// fill does what is to be done later.
func (c *Context) fill() {
	if f := c.later; f != nil {
		c.later = nil
		f.Fill(c)
	}
}

// entry is one key; its values are values[from:to] of the context.
type entry struct {
	hash     uint32
	key      string
	from, to int
	// several is set for keys of SetAll, whose values are a set.
	several bool
}

// Name is a condition key made ready to be set again and again.
type Name struct {
	key  string
	hash uint32
}

// NameOf gives the Name of a key.
func NameOf(key string) Name {
	key = alias(key)
	return Name{key, hash(key)}
}

// Set gives a key one value; an earlier one is replaced.
func (c *Context) Set(key, value string) { c.SetName(NameOf(key), value) }

// SetName is Set for a key whose Name is at hand.
func (c *Context) SetName(n Name, value string) {
	e := c.slot(n, 1)
	e.several = false
	c.values[e.from] = value
}

// SetAll gives a key a set of values, which condition operators compare only
// with ForAnyValue: or ForAllValues: and variables never resolve to, however
// many there are. No value makes an empty set, which differs from an absent
// key: Null finds it there, and ForAllValues: matches it.
func (c *Context) SetAll(key string, values []string) {
	e := c.slot(NameOf(key), len(values))
	e.several = true
	copy(c.values[e.from:e.to], values)
}

// slot makes room for n values of a key, in the place of its earlier ones
// where they were as many.
func (c *Context) slot(name Name, n int) *entry {
	e := c.find(name.key, name.hash)
	if e == nil {
		c.seen |= bit(name.hash)
		c.entries = append(c.entries, entry{hash: name.hash, key: name.key})
		e = &c.entries[len(c.entries)-1]
	}
	if e.to-e.from != n {
		e.from = len(c.values)
		for range n {
			c.values = append(c.values, "")
		}
		e.to = len(c.values)
	}
	return e
}

// alias gives the key that tenant_id stands for.
func alias(key string) string {
	if equalFold(key, tenantAlias) {
		return tenantKey
	}
	return key
}

// Get gives a key's values and whether it is there. The values are the
// context's own.
func (c *Context) Get(key string) (values []string, found bool) {
	key = alias(key)
	e := c.find(key, hash(key))
	if e == nil {
		return nil, false
	}
	return c.values[e.from:e.to:e.to], true
}

// Keys calls a function for every key, in the order they were first set, as
// it was spelled then, with its values and whether these are a set.
func (c *Context) Keys(each func(key string, values []string, several bool)) {
	c.fill()
	for i := range c.entries {
		e := &c.entries[i]
		each(e.key, c.values[e.from:e.to:e.to], e.several)
	}
}

// Reset empties the context, so that it can be used again without allocation.
func (c *Context) Reset() {
	clear(c.entries)
	clear(c.values)
	c.entries, c.values, c.seen, c.later = c.entries[:0], c.values[:0], 0, nil
}

func (c *Context) find(key string, hash uint32) *entry {
	if c == nil {
		return nil
	}
	if c.later != nil {
		c.fill()
	}
	if c.seen&bit(hash) == 0 {
		return nil
	}
	for i := range c.entries {
		if e := &c.entries[i]; e.hash == hash && equalFold(e.key, key) {
			return e
		}
	}
	return nil
}

// bit is where seen has a hash.
func bit(hash uint32) uint64 { return 1 << (hash & 63) }

// The constants of FNV-1a with 32 bits.
const (
	hashStart = 2166136261
	hashPrime = 16777619
)

// hash is FNV-1a over the key in lower case.
func hash(key string) uint32 {
	h := uint32(hashStart)
	for i := range len(key) {
		h = (h ^ uint32(lowerByte(key[i]))) * hashPrime
	}
	return h
}

func lowerByte(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// equalFold compares without regard to the case of ASCII letters; those of
// other scripts are equal to themselves only.
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}
