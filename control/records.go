package control

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// family is the first part of a key: what sort of record it names.
type family string

// The families. Those of tenants are sealed for the node, as tombstones have
// to be readable when a tenant's key is gone; all others for their account.
const (
	tenantFamily     family = "tenant"     // tenant.HIDDEN-SLUG
	endTenantFamily  family = "endtenant"  // endtenant.ACCOUNT.HIDDEN-NAME
	userFamily       family = "user"       // user.ACCOUNT.UID; HIDDEN-NAME in schema 1
	groupFamily      family = "group"      // group.ACCOUNT.UID
	roleFamily       family = "role"       // role.ACCOUNT.HIDDEN-NAME
	policyFamily     family = "policy"     // policy.ACCOUNT.HIDDEN-NAME
	keyFamily        family = "key"        // key.ACCOUNT.HIDDEN-ID
	providerFamily   family = "provider"   // provider.ACCOUNT.HIDDEN-ARN
	functionFamily   family = "function"   // function.ACCOUNT.HIDDEN-NAME
	versionFamily    family = "version"    // version.ACCOUNT.FUNCTION.NUMBER
	aliasFamily      family = "alias"      // alias.ACCOUNT.FUNCTION.HIDDEN-NAME
	eventFamily      family = "event"      // event.ACCOUNT.FUNCTION.HIDDEN-QUALIFIER
	urlFamily        family = "url"        // url.ACCOUNT.FUNCTION.HIDDEN-QUALIFIER
	permissionFamily family = "permission" // permission.ACCOUNT.FUNCTION.HIDDEN-QUALIFIER
	revokedFamily    family = "revoked"    // revoked.ACCOUNT.HIDDEN-WHAT
)

// The families of the organisation. All but layouts and shares are sealed for
// the node.
const (
	generationFamily family = "generation" // generation
	unitFamily       family = "unit"       // unit.ID
	guardrailFamily  family = "guardrail"  // guardrail.HIDDEN-TARGET
	placementFamily  family = "placement"  // placement.HIDDEN-ACCOUNT
	acceptedFamily   family = "accepted"   // accepted.HIDDEN-FINDING
	layoutFamily     family = "layout"     // layout.ACCOUNT.HIDDEN-NAME
	shareFamily      family = "share"      // share.ACCOUNT.ID
	linkFamily       family = "link"       // link.ACCOUNT.ID
)

// ofNode tells whether a family's records are the installation's own.
func (f family) ofNode() bool {
	switch f {
	case tenantFamily, generationFamily, unitFamily, guardrailFamily, placementFamily, acceptedFamily:
		return true
	}
	return false
}

// tenantRecord is a tenant, or the tombstone of one.
type tenantRecord struct {
	tenant.Tenant
	Deleted time.Time `json:"deleted,omitzero"`
}

// functionRecord is a function with its $LATEST. Function.Latest is what was
// asked for; Serving is what runs while that is not ready.
type functionRecord struct {
	function.Function
	AccountUID  tenant.UID  `json:"accountUid"`
	AccountSlug tenant.Slug `json:"accountSlug"` // never changes, never used again
	// Region is the installation's, kept so that a record's ARN can be told from it.
	Region string `json:"region"`
	// Build names the inputs of Latest's artefact; Warmup is one of them.
	Build  string `json:"build"`
	Warmup string `json:"warmup,omitempty"`
	// Serving is nil while Latest itself runs, or nothing does.
	Serving *function.Version `json:"serving,omitempty"`
	// Recursive says that RecursiveLoop is Allow.
	Recursive bool `json:"recursive,omitempty"`
	// Rollouts are the last ones by qualifier, and Pins the versions that single
	// end tenants are kept on.
	Rollouts map[string]Rollout            `json:"rollouts,omitempty"`
	Pins     map[tenant.EndTenantID]string `json:"pins,omitempty"`
}

// versionRecord is a published version.
type versionRecord struct {
	function.Version
	Function tenant.UID `json:"function"`
	Build    string     `json:"build"`
	Warmup   string     `json:"warmup,omitempty"`
	// Content names what of $LATEST was published, to know it again.
	Content string `json:"content"`
}

type aliasRecord struct {
	function.Alias
	Function tenant.UID `json:"function"`
}

type eventRecord struct {
	function.EventConfig
	Function tenant.UID `json:"function"`
}

// recordSchema is the form of stored records. A node reads its own and older
// ones and refuses newer, so that it never drops a field it does not know.
// Schema 2 came with policies: users, roles and keys have another form.
const recordSchema = 2

type envelope struct {
	Schema int             `json:"schema"`
	Record json.RawMessage `json:"record"`
}

func encode(record any) ([]byte, error) { return encodeAs(recordSchema, record) }

func encodeAs(schema int, record any) ([]byte, error) {
	raw, err := json.Marshal(record)
	if err != nil {
		return nil, fault.Wrap("control.encode", fault.Internal, err, "a record cannot be written")
	}
	return json.Marshal(envelope{Schema: schema, Record: raw})
}

func decode(value []byte, record any) error {
	e, err := open(value)
	if err != nil {
		return err
	}
	return e.into(record)
}

// open reads what is around a record.
func open(value []byte) (envelope, error) {
	const op = "control.decode"
	var e envelope
	if err := json.Unmarshal(value, &e); err != nil {
		return envelope{}, fault.Wrap(op, fault.Internal, err, "a stored record is not in the expected form")
	}
	if e.Schema < 1 || e.Schema > recordSchema {
		return envelope{}, fault.New(op, fault.Unsupported, "a stored record has schema %d; this version reads up to %d.", e.Schema, recordSchema).
			WithRemedy("Run the newer version that wrote it.")
	}
	return e, nil
}

func (e envelope) into(record any) error {
	if err := json.Unmarshal(e.Record, record); err != nil {
		return fault.Wrap("control.decode", fault.Internal, err, "a stored record is not in the expected form")
	}
	return nil
}

// newKey makes the key of a record. Every part is an internal id, a number or
// a hidden name: never a customer's text.
func newKey(f family, parts ...string) (store.Key, error) {
	return store.NewKey(append([]string{string(f)}, parts...)...)
}

func familyOf(k store.Key) family { return family(part(k, 0)) }

// Owner gives whose key seals a record of this package: the account, or
// secret.Node. It is for the seal around the stores.
func Owner(k store.Key) tenant.UID {
	if familyOf(k).ofNode() {
		return secret.Node
	}
	return tenant.UID(part(k, 1))
}

// functionOf is whose version, alias or event configuration a key names.
func functionOf(k store.Key) tenant.UID { return tenant.UID(part(k, 2)) }

func part(k store.Key, n int) string {
	if parts := k.Parts(); n < len(parts) {
		return parts[n]
	}
	return ""
}

// hide makes the key of a record that is found by a name.
func (s *Service) hide(f family, owner tenant.UID, name string, middle ...string) (store.Key, error) {
	if f.ofNode() {
		owner = secret.Node
	}
	hidden, err := s.cfg.Keys.Hide(owner, secret.Record, string(f)+"/"+name)
	if err != nil {
		return store.Key{}, fault.Wrap("control.hide", fault.Internal, err, "the name of a record cannot be made")
	}
	if !f.ofNode() {
		middle = append([]string{string(owner)}, middle...)
	}
	return newKey(f, append(middle, hidden)...)
}

func versionKey(f *functionRecord, number int) (store.Key, error) {
	return newKey(versionFamily, string(f.AccountUID), string(f.UID), strconv.Itoa(number))
}
