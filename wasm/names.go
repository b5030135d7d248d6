package wasm

const (
	nameSection      = "name"
	producersSection = "producers"
)

// keepCustoms keeps the custom sections that the options name.
func (b *instrumenter) keepCustoms() {
	m := b.out()
	m.Customs = nil
	last := m.lastPlace()
	for i := range b.source.Customs {
		c := b.source.Customs[i]
		c.After = last
		switch {
		case c.Name == producersSection && b.options.KeepProducers:
			m.Customs = append(m.Customs, c)
		case c.Name == nameSection && b.options.KeepNames:
			if c.Data = b.movedNames(c.Data); c.Data != nil {
				m.Customs = append(m.Customs, c)
			}
		}
	}
}

// lastPlace gives the place of the last section that is not empty.
func (m *Module) lastPlace() int {
	e, last := &encoder{m: m}, 0
	for id := byte(1); id < sectionCount; id++ {
		if e.items(id) > 0 {
			last = max(last, sectionPlace[id])
		}
	}
	return last
}

// movedNames gives a name section with the names of functions at their new
// indexes and nothing else, or nil if the section is malformed, which does
// not make a module invalid.
func (b *instrumenter) movedNames(section []byte) []byte {
	const functionNames = 1
	r := &reader{b: section, end: len(section)}
	for r.err == nil && r.left() > 0 {
		id := r.byte()
		part := r.bytes(r.u32())
		if r.err != nil || id != functionNames {
			continue
		}
		names := b.movedMap(part)
		if names == nil {
			return nil
		}
		return append(appendU32([]byte{functionNames}, length(len(names))), names...)
	}
	return nil
}

func (b *instrumenter) movedMap(part []byte) []byte {
	r := &reader{b: part, end: len(part)}
	n := r.count(2)
	out := appendU32(make([]byte, 0, len(part)+16), uint32(n))
	for ; n > 0 && r.err == nil; n-- {
		out = appendU32(out, b.moved(r.u32()))
		out = appendName(out, r.name())
	}
	if r.err != nil || r.left() > 0 {
		return nil
	}
	return out
}
