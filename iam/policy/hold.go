package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
)

// holds tells whether a condition of a statement holds. Where the request's
// value is not of the operator's type the question has no answer, and the
// answer is the one that refuses: it holds in a Deny and not in an Allow.
func (c *condition) holds(ctx *Context, effect Effect) bool {
	e := ctx.find(c.key, c.hash)
	if c.operator == Null {
		for _, absent := range c.bools {
			if absent == (e == nil) {
				return true
			}
		}
		return false
	}
	if e == nil {
		return c.ifExists || c.quantifier == ForAllValues || c.quantifier == Single && c.operator.Inverted()
	}
	if c.quantifier == Single {
		return !e.several && c.test(ctx.values[e.from], ctx, effect)
	}
	any := c.quantifier == ForAnyValue
	for _, value := range ctx.values[e.from:e.to] {
		if c.test(value, ctx, effect) == any {
			return any
		}
	}
	return !any
}

// test compares one value of the request with those of the policy: one that
// matches is enough, and for inverted operators none may.
func (c *condition) test(value string, ctx *Context, effect Effect) bool {
	var matched, typed bool
	switch operators[c.operator].family {
	case stringFamily:
		matched, typed = c.testString(value, ctx), true
	case arnFamily:
		matched, typed = c.testARN(value, ctx), true
	case numberFamily:
		matched, typed = c.testNumber(value)
	case dateFamily:
		matched, typed = c.testDate(value)
	case boolFamily:
		matched, typed = c.testBool(value)
	case binaryFamily:
		matched, typed = c.testBinary(value)
	case addressFamily:
		matched, typed = c.testAddress(value)
	}
	if !typed {
		return effect == Deny
	}
	return matched != c.operator.Inverted()
}

func (c *condition) testString(value string, ctx *Context) bool {
	for i := range c.globs {
		if c.globs[i].match(value, ctx) {
			return true
		}
	}
	return false
}

// testARN matches no value that is not an ARN.
func (c *condition) testARN(value string, ctx *Context) bool {
	parts, ok := arnParts(value)
	if !ok {
		return false
	}
	for i := range c.arns {
		if c.arns[i].match(&parts, ctx) {
			return true
		}
	}
	return false
}

func (c *condition) testNumber(value string) (matched, typed bool) {
	number, typed := decimalOf(value)
	for _, n := range c.numbers {
		matched = matched || ordered(operators[c.operator].compare, number.compare(n))
	}
	return matched, typed
}

func (c *condition) testDate(value string) (matched, typed bool) {
	time, typed := dateOf(value)
	for _, t := range c.times {
		order := 0
		if time < t {
			order = -1
		} else if time > t {
			order = 1
		}
		matched = matched || ordered(operators[c.operator].compare, order)
	}
	return matched, typed
}

func (c *condition) testBool(value string) (matched, typed bool) {
	b, typed := boolOf(value)
	for _, want := range c.bools {
		matched = matched || b == want
	}
	return matched, typed
}

// maxBinary is the length in base64 of the longest value of a request that
// BinaryEquals compares.
const maxBinary = 1024

func (c *condition) testBinary(value string) (matched, typed bool) {
	if len(value) > maxBinary {
		return false, false
	}
	var encoded, decoded [maxBinary]byte
	n, err := base64.StdEncoding.Strict().Decode(decoded[:], encoded[:copy(encoded[:], value)])
	for _, want := range c.binaries {
		matched = matched || bytes.Equal(decoded[:n], want)
	}
	return matched, err == nil
}

func (c *condition) testAddress(value string) (matched, typed bool) {
	address, err := netip.ParseAddr(value)
	if err != nil || address.Zone() != "" {
		return false, false
	}
	// An IPv4 address in the clothes of an IPv6 one is the IPv4 address.
	address = address.Unmap()
	for _, prefix := range c.prefixes {
		matched = matched || prefix.Contains(address)
	}
	return matched, true
}
