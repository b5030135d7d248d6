package queryapi

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// The bounds of a form.
const (
	mostParams    = 4096 // parameters of a request
	mostDepth     = 8    // parts of a parameter's name
	mostNameBytes = 512  // of a parameter's name
	mostItems     = 1000 // of a list
)

// node is a parameter or a part of a parameter's name: Tags.member.1.Key is
// four of them below the root.
type node struct {
	value    *string
	children map[string]*node
}

// parseForm reads forms (the query and the body of a request) into one tree.
// Each parameter may be there once. What signs the request (X-Amz-…) is left
// out of it. A form is read as the signature was taken over it: '+' is a
// space, and a bare ';' separates nothing.
func parseForm(forms ...string) (*node, error) {
	root := &node{}
	count := 0
	for _, form := range forms {
		for pair := range strings.SplitSeq(form, "&") {
			if pair == "" {
				continue
			}
			if count++; count > mostParams {
				return nil, malformed("The request has more than %d parameters.", mostParams)
			}
			rawName, rawValue, _ := strings.Cut(pair, "=")
			name, err := unescape(rawName)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(name, "X-Amz-") {
				continue
			}
			value, err := unescape(rawValue)
			if err != nil {
				return nil, err
			}
			if err := root.put(name, value); err != nil {
				return nil, err
			}
		}
	}
	return root, nil
}

func unescape(s string) (string, error) {
	if strings.Contains(s, ";") {
		return "", malformed("The request has a ';' that is not escaped.")
	}
	text, err := url.QueryUnescape(s)
	if err != nil {
		return "", malformed("The request has a broken percent-encoding.")
	}
	return text, nil
}

// put adds one parameter. A name is a value or has parts below it, never both.
func (n *node) put(name, value string) error {
	if len(name) > mostNameBytes {
		return malformed("The name of a parameter is longer than %d bytes.", mostNameBytes)
	}
	at, depth := n, 0
	for part := range strings.SplitSeq(name, ".") {
		if depth++; part == "" || depth > mostDepth || at.value != nil {
			return malformed("The parameter %s is malformed.", quoted(name))
		}
		next := at.children[part]
		if next == nil {
			next = &node{}
			if at.children == nil {
				at.children = map[string]*node{}
			}
			at.children[part] = next
		}
		at = next
	}
	if at.value != nil {
		return malformed("The parameter %s is there more than once.", quoted(name))
	}
	if at.children != nil {
		return malformed("The parameter %s is malformed.", quoted(name))
	}
	at.value = &value
	return nil
}

// take gives a child and removes it.
func (n *node) take(name string) *node {
	child := n.children[name]
	delete(n.children, name)
	return child
}

// leftover gives the full name of a parameter whose value nobody took out;
// false if there is none. Of several it is the first by name.
func (n *node) leftover() (string, bool) {
	if n.value != nil {
		return "", true
	}
	first, found := "", false
	for name, child := range n.children {
		rest, left := child.leftover()
		if !left {
			continue
		}
		if rest != "" {
			name += "." + rest
		}
		if !found || name < first {
			first, found = name, true
		}
	}
	return first, found
}

// items gives the elements of a list, X.member.1 to X.member.N without a gap.
// An empty list is sent as a parameter without a value.
func (n *node) items(field string) ([]*node, error) {
	if n.value != nil {
		if *n.value != "" {
			return nil, malformed("The parameter %s is a list: send %s.member.1.", field, field)
		}
		n.value = nil
		return nil, nil
	}
	list := n.children["member"]
	if list == nil || list.value != nil || len(n.children) > 1 {
		return nil, malformed("The parameter %s is a list: send %s.member.1.", field, field)
	}
	if len(list.children) > mostItems {
		return nil, malformed("The parameter %s has more than %d elements.", field, mostItems)
	}
	items := make([]*node, len(list.children))
	for i := range items {
		// The spelling is exact: 01 is no index.
		if items[i] = list.children[strconv.Itoa(i+1)]; items[i] == nil {
			return nil, malformed("The elements of the parameter %s are not numbered from 1 without a gap.", field)
		}
	}
	return items, nil
}

func malformed(format string, args ...any) error {
	return fault.New("queryapi.parse", fault.Invalid, format, args...).WithCode("MalformedInput")
}

func quoted(s string) string { return "'" + fault.Clip(s) + "'" }
