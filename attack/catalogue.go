package attack

import "slices"

// Catalogue gives all attacks in the order of their ids.
func Catalogue() []Attack {
	all := slices.Concat(names(), elsewhere())
	slices.SortFunc(all, func(a, b Attack) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID)
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

const (
	host     = "needs the host: "
	notBuilt = "not built: "
)

// elsewhere are the attacks that cannot be made from a tenant's place, or on
// what is not there.
func elsewhere() []Attack {
	return []Attack{
		{ID: "A09", Title: "one tenant's ciphertext put into another's record", Elsewhere: host + "store/sealed TestSwappedValuesAreRefused"},
	}
}
