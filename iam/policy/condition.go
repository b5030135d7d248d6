package policy

import (
	"encoding/base64"
	"math/big"
	"net/netip"
)

func (p *parser) conditions(s *Statement, e elements, path string) *Error {
	n := e["Condition"]
	if n == nil {
		return nil
	}
	path += ".Condition"
	if n.kind != objectNode {
		return refuse(path, `Write {"Operator":{"key":"value"}}.`, "the Condition is %s.", n.describe())
	}
	seen := map[string]bool{}
	for i := range n.members {
		m := &n.members[i]
		at := path + step(m.name)
		base, found := parseOperator(m.name)
		if !found {
			return refuse(at, "Use one of AWS's condition operators, as StringEquals; IfExists may follow all but Null, ForAnyValue: or ForAllValues: precede them.", "there is no condition operator %q.", m.name)
		}
		if seen[base.Name()] {
			return refuse(at, "Merge the two.", "the operator %s stands twice.", base.Name())
		}
		seen[base.Name()] = true
		if m.value.kind != objectNode || len(m.value.members) == 0 {
			return refuse(at, `Write {"key":"value"}.`, "%s compares no key.", m.name)
		}
		if err := p.keys(s, base, &m.value, at); err != nil {
			return err
		}
	}
	return nil
}

// keys reads the keys of one operator; each makes a condition.
func (p *parser) keys(s *Statement, base Condition, n *node, path string) *Error {
	seen := map[string]bool{}
	for i := range n.members {
		m := &n.members[i]
		at := path + step(m.name)
		key, wrong := parseKey(m.name)
		if wrong != nil {
			return wrong.at(at)
		}
		if seen[key] {
			return refuse(at, "Merge the two; keys' case does not matter.", "the key %s stands twice.", key)
		}
		seen[key] = true
		p.written(m.name)
		found := conditionPlace{key: m.name, path: at}
		c := base
		c.Key = key
		values := []node{m.value}
		if m.value.kind == listNode {
			values = m.value.items
		}
		if len(values) == 0 {
			return refuse(at, "Write a value, or several in a list.", "the key %s is compared with nothing.", key)
		}
		for j := range values {
			where := at
			if m.value.kind == listNode {
				where += index(j)
			}
			v, err := p.value(&c, &values[j], where)
			if err != nil {
				return err
			}
			p.variablesWritten(values[j].text)
			c.Values, found.values = append(c.Values, v), append(found.values, where)
		}
		s.Conditions = append(s.Conditions, c)
		p.here().conditions = append(p.here().conditions, found)
	}
	return nil
}

// value reads one value by the type of its operator.
func (p *parser) value(c *Condition, n *node, path string) (Value, *Error) {
	if n.kind != textNode && n.kind != numberNode && n.kind != boolNode {
		return Value{}, refuse(path, "Write a string.", "a value is %s.", n.describe())
	}
	v := Value{Text: n.text}
	var wrong *problem
	switch operators[c.Operator].family {
	case stringFamily:
		v.Pattern, wrong = parsePattern(n.text, p.syntax(c.Operator.Wildcards()))
	case arnFamily:
		v.Parts, wrong = parseConditionARN(n.text, p.syntax(true))
	case numberFamily:
		v.Number, wrong = parseNumber(n.text)
	case dateFamily:
		v.Time, wrong = parseDate(n.text)
	case boolFamily, nullFamily:
		v.Bool, wrong = parseBool(n.text)
	case binaryFamily:
		v.Binary, wrong = parseBinary(n.text)
	case addressFamily:
		v.Prefix, wrong = parsePrefix(n.text)
	}
	if wrong != nil {
		return Value{}, wrong.at(path)
	}
	return v, nil
}

// parseConditionARN reads a value of the Arn operators: six parts, each a
// pattern, or * for any ARN. Unlike in resources a variable may stand in any
// part.
func parseConditionARN(text string, s syntax) (parts [6]Pattern, _ *problem) {
	if text == "*" {
		for i := range parts {
			parts[i] = Pattern{{Kind: Run}}
		}
		return parts, nil
	}
	whole, p := parsePattern(text, s)
	if p != nil {
		return parts, p
	}
	pieces := whole.split(6)
	if len(pieces) < 6 {
		return parts, problemf("Write all six parts, as in arn:aws:iam::123456789012:role/*; or compare the key with StringLike.", "%q is not an ARN.", text)
	}
	copy(parts[:], pieces)
	return parts, nil
}

func parseBool(text string) (bool, *problem) {
	value, ok := boolOf(text)
	if !ok {
		return false, problemf("Write true or false; variables cannot stand here.", "%q is no truth value.", text)
	}
	return value, nil
}

func parseBinary(text string) ([]byte, *problem) {
	value, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, problemf("Write the bytes in base64, with padding.", "%q is not base64.", text)
	}
	return value, nil
}

// parsePrefix reads an address or a CIDR block. Bits behind the length count
// for nothing, as with AWS.
func parsePrefix(text string) (netip.Prefix, *problem) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
	}
	if !prefix.IsValid() || prefix.Addr().Is4In6() {
		return netip.Prefix{}, problemf("Write it as in 203.0.113.0/24, 2001:db8::/32 or 203.0.113.7; variables and wildcards cannot stand here.", "%q is not an IP address or block.", text)
	}
	return prefix.Masked(), nil
}

func parseNumber(text string) (*big.Rat, *problem) {
	if _, ok := decimalOf(text); !ok {
		return nil, problemf("Write an integer or a decimal, as in 10 or -0.5; variables and wildcards cannot stand here.", "%q is not a number.", text)
	}
	n, _ := new(big.Rat).SetString(text) // a decimal always is one
	return n, nil
}

func parseDate(text string) (int64, *problem) {
	nanoseconds, ok := dateOf(text)
	if !ok {
		return 0, problemf("Write it as in 2026-01-31T23:59:59Z, or in seconds since 1970; variables and wildcards cannot stand here.", "%q is not a date between the years 1678 and 2261.", text)
	}
	return nanoseconds, nil
}
