package control

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
)

// pageItems is the most items of a page, as of Lambda's lists, and what a
// page has if the caller does not say.
const pageItems = 50

// PageInput asks for a part of a list. Marker is empty for the first part,
// else the NextMarker of the part before; MaxItems 0 means as many as fit.
type PageInput struct {
	Marker   string
	MaxItems int
}

// Page is a part of a list; NextMarker is empty for the last one.
type Page[T any] struct {
	Items      []T
	NextMarker string
}

// pageOf cuts a page out of what the names name, in the order of the names.
// A marker only says after which name to go on in the caller's own list, so
// one that was made up or belongs to somebody else gives nothing away.
func pageOf[T any](op string, in PageInput, names []string, get func(string) (T, error)) (Page[T], error) {
	last, err := base64.RawURLEncoding.DecodeString(in.Marker)
	if err != nil || len(last) > 512 {
		return Page[T]{}, invalid(op, "The marker is not one that this list gave.")
	}
	if in.MaxItems < 0 || in.MaxItems > 10_000 {
		return Page[T]{}, invalid(op, "MaxItems is %d; 1 to 10000 are allowed.", in.MaxItems)
	}
	size := pageItems
	if in.MaxItems > 0 {
		size = min(size, in.MaxItems)
	}
	page, next := cut(names, string(last), size, get)
	if next != "" {
		page.NextMarker = base64.RawURLEncoding.EncodeToString([]byte(next))
	}
	return page, nil
}

// cut gives up to size items whose names come after last; next is the last of
// them if more follow.
func cut[T any](names []string, last string, size int, get func(string) (T, error)) (page Page[T], next string) {
	slices.Sort(names)
	from := 0
	if last != "" {
		from, _ = slices.BinarySearchFunc(names, last, func(name, last string) int {
			if name <= last {
				return -1
			}
			return 1
		})
	}
	page = Page[T]{Items: []T{}}
	for _, name := range names[from:] {
		if len(page.Items) == size {
			return page, last
		}
		item, err := get(name)
		if err != nil {
			continue // gone since the names were listed
		}
		page.Items, last = append(page.Items, item), name
	}
	return page, ""
}

// identityPage is pageOf for the lists of IAM, with its sizes and codes. The
// list is what is listed, as in users or groups-of/alice: a marker is only
// good for the list that gave it.
func identityPage[T any](list string, in PageInput, names []string, get func(string) (T, error)) (Page[T], error) {
	op := "control.List"
	if in.MaxItems < 0 || in.MaxItems > maxIAMPageItems {
		return Page[T]{}, breaks(op, strconv.Itoa(in.MaxItems), "maxItems", "Member must have value between 1 and 1000")
	}
	size := iamPageItems
	if in.MaxItems > 0 {
		size = in.MaxItems
	}
	sum := sha256.Sum256([]byte(list))
	tag := string(sum[:8])
	last := ""
	if in.Marker != "" {
		raw, err := base64.RawURLEncoding.DecodeString(in.Marker)
		if err != nil || len(raw) > 1024 || !strings.HasPrefix(string(raw), tag) {
			return Page[T]{}, fault.New(op, fault.Invalid, "Invalid Marker.").WithCode("ValidationError").
				WithRemedy("Give the marker that the same list gave, with the same parameters.")
		}
		last = string(raw[len(tag):])
	}
	page, next := cut(names, last, size, get)
	if next != "" {
		page.NextMarker = base64.RawURLEncoding.EncodeToString([]byte(tag + next))
	}
	return page, nil
}

// versionName makes a name that sorts functions by name and the versions of
// each by number; number 0 stands for $LATEST.
func versionName(name string, number int) string { return fmt.Sprintf("%s\x00%010d", name, number) }

// splitVersion gives the name and the qualifier that versionName was made of.
func splitVersion(item string) (name, qualifier string) {
	name, digits, _ := strings.Cut(item, "\x00")
	if n := number(digits); n > 0 {
		return name, strconv.Itoa(n)
	}
	return name, function.Latest
}
