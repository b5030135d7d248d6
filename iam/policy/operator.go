package policy

import "strings"

// family is the type of what an operator compares.
type family uint8

const (
	stringFamily family = iota
	numberFamily
	dateFamily
	boolFamily
	binaryFamily
	addressFamily
	arnFamily
	nullFamily
)

// comparison is how an operator of numbers or dates compares.
type comparison uint8

const (
	equal comparison = iota
	less
	lessEqual
	greater
	greaterEqual
)

// operators describes each operator. The table is the reference: parser,
// evaluator and documentation read it.
var operators = [...]struct {
	name   string
	family family
	// inverted operators match if none of the values does, and if the key is
	// missing.
	inverted  bool
	wildcards bool
	fold      bool
	compare   comparison
}{
	StringEquals:              {name: "StringEquals"},
	StringNotEquals:           {name: "StringNotEquals", inverted: true},
	StringEqualsIgnoreCase:    {name: "StringEqualsIgnoreCase", fold: true},
	StringNotEqualsIgnoreCase: {name: "StringNotEqualsIgnoreCase", inverted: true, fold: true},
	StringLike:                {name: "StringLike", wildcards: true},
	StringNotLike:             {name: "StringNotLike", inverted: true, wildcards: true},
	NumericEquals:             {name: "NumericEquals", family: numberFamily},
	NumericNotEquals:          {name: "NumericNotEquals", family: numberFamily, inverted: true},
	NumericLessThan:           {name: "NumericLessThan", family: numberFamily, compare: less},
	NumericLessThanEquals:     {name: "NumericLessThanEquals", family: numberFamily, compare: lessEqual},
	NumericGreaterThan:        {name: "NumericGreaterThan", family: numberFamily, compare: greater},
	NumericGreaterThanEquals:  {name: "NumericGreaterThanEquals", family: numberFamily, compare: greaterEqual},
	DateEquals:                {name: "DateEquals", family: dateFamily},
	DateNotEquals:             {name: "DateNotEquals", family: dateFamily, inverted: true},
	DateLessThan:              {name: "DateLessThan", family: dateFamily, compare: less},
	DateLessThanEquals:        {name: "DateLessThanEquals", family: dateFamily, compare: lessEqual},
	DateGreaterThan:           {name: "DateGreaterThan", family: dateFamily, compare: greater},
	DateGreaterThanEquals:     {name: "DateGreaterThanEquals", family: dateFamily, compare: greaterEqual},
	Bool:                      {name: "Bool", family: boolFamily},
	BinaryEquals:              {name: "BinaryEquals", family: binaryFamily},
	IPAddress:                 {name: "IpAddress", family: addressFamily},
	NotIPAddress:              {name: "NotIpAddress", family: addressFamily, inverted: true},
	ArnEquals:                 {name: "ArnEquals", family: arnFamily, wildcards: true},
	ArnNotEquals:              {name: "ArnNotEquals", family: arnFamily, inverted: true, wildcards: true},
	ArnLike:                   {name: "ArnLike", family: arnFamily, wildcards: true},
	ArnNotLike:                {name: "ArnNotLike", family: arnFamily, inverted: true, wildcards: true},
	Null:                      {name: "Null", family: nullFamily},
}

// Operators lists all operators.
func Operators() []Operator {
	all := make([]Operator, len(operators))
	for i := range all {
		all[i] = Operator(i)
	}
	return all
}

// String is the operator's name in policies.
func (o Operator) String() string { return operators[o].name }

// Inverted tells whether the operator matches where its values do not, and
// so also where the key is missing.
func (o Operator) Inverted() bool { return operators[o].inverted }

// Wildcards tells whether * and ? are wildcards in the operator's values.
func (o Operator) Wildcards() bool { return operators[o].wildcards }

// IgnoresCase tells whether the operator compares without regard to case.
func (o Operator) IgnoresCase() bool { return operators[o].fold }

// The modifiers of operators.
const (
	forAnyValue  = "ForAnyValue:"
	forAllValues = "ForAllValues:"
	ifExists     = "IfExists"
)

// byName finds operators by their names in lower case: AWS takes them in any.
var byName = func() map[string]Operator {
	m := map[string]Operator{}
	for _, o := range Operators() {
		m[lower(o.String())] = o
	}
	return m
}()

// parseOperator reads an operator with its modifiers.
func parseOperator(text string) (Condition, bool) {
	var c Condition
	name := lower(text)
	if rest, found := strings.CutPrefix(name, lower(forAnyValue)); found {
		c.Quantifier, name = ForAnyValue, rest
	} else if rest, found := strings.CutPrefix(name, lower(forAllValues)); found {
		c.Quantifier, name = ForAllValues, rest
	}
	name, c.IfExists = strings.CutSuffix(name, lower(ifExists))
	operator, found := byName[name]
	c.Operator = operator
	// Null asks whether the key is there: the modifiers would mean nothing.
	return c, found && (operator != Null || !c.IfExists && c.Quantifier == Single)
}

// Name gives the operator with its modifiers, as it is written in policies.
func (c *Condition) Name() string {
	name := c.Operator.String()
	if c.IfExists {
		name += ifExists
	}
	return [...]string{"", forAnyValue, forAllValues}[c.Quantifier] + name
}
