package awsapi

import (
	"net/url"
	"strings"

	"github.com/carrel-dev/carrel/fault"
)

// queryValue gives the value of one query parameter, empty if it is absent.
// It allocates only for escaped values. A parameter that is there twice is
// refused: the reader that decides and the one that acts might differ.
func queryValue(query, name string) (string, error) {
	value, seen := "", false
	for query != "" {
		var part string
		part, query, _ = strings.Cut(query, "&")
		key, v, _ := strings.Cut(part, "=")
		if strings.ContainsAny(key, "%+") {
			unescaped, err := url.QueryUnescape(key)
			if err != nil {
				return "", malformedQuery(part)
			}
			key = unescaped
		}
		if key != name {
			continue
		}
		if seen {
			return "", fault.New("awsapi", fault.Invalid, "The query parameter %s is there more than once.", name)
		}
		unescaped, err := url.QueryUnescape(v)
		if err != nil {
			return "", malformedQuery(part)
		}
		value, seen = unescaped, true
	}
	return value, nil
}

func malformedQuery(part string) error {
	return fault.New("awsapi", fault.Invalid, "The query string part %q is not well formed.", fault.Clip(part))
}
