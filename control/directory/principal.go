package directory

import (
	"strings"

	"github.com/carrel-dev/carrel/tenant"
)

// AccountIn gives the account that an ARN names; empty if it names none.
func AccountIn(arn string) tenant.AccountID {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	return tenant.AccountID(parts[4])
}

// PrincipalID finds the internal id of the user or role that an ARN in a
// policy stands for; for a role's session it is the role's. Not bound are an
// account, which stands for whoever is in it, and a federated user, whose name
// is given anew with each session.
func PrincipalID(arn string, account func(tenant.AccountID) (*Account, bool)) (uid tenant.UID, bound, found bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 {
		return "", false, false
	}
	sort, rest, _ := strings.Cut(parts[5], "/")
	in, known := account(tenant.AccountID(parts[4]))
	switch {
	case parts[2] == "iam" && sort == "user":
		if known {
			if u, found := in.User(arn); found {
				return u.Record.UID, true, true
			}
		}
		return "", true, false
	case parts[2] == "iam" && sort == "role":
		if known {
			if r, found := in.Role(arn); found {
				return r.Record.UID, true, true
			}
		}
		return "", true, false
	case parts[2] == "sts" && sort == "assumed-role":
		// The ARN of a session names its role without the path.
		role, _, _ := strings.Cut(rest, "/")
		if known {
			if r, found := in.Roles.Get(role); found {
				return r.Record.UID, true, true
			}
		}
		return "", true, false
	}
	return "", false, false
}
