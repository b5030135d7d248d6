package control

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store"
)

// deployed is a function with all that hangs on it, as readers see it: made
// anew at every change and never changed.
type deployed struct {
	functionRecord
	key      store.Key
	rev      store.Revision
	versions map[string]*held[versionRecord]
	aliases  map[string]*held[aliasRecord]
	events   map[string]*held[eventRecord]
	urls     map[string]*held[urlRecord]
	// permissions are the policies of the function, under an empty qualifier,
	// and of its versions and aliases; bound are those of their statements that
	// name a user or role; policies is what was made of them last.
	permissions map[string]*held[permissionRecord]
	bound       []permission
	policies    atomic.Pointer[functionSet]
	routes      map[string]route
	// tags are the function's, as decisions take them.
	tags []call.Tag
	// rolled and pinned are what roll-outs and pins decide.
	rolled map[string]rolled
	pinned map[pinName]choice
	// instances are what was derived from it for end tenants.
	instances instances
}

// route is where calls with one qualifier go.
type route struct {
	first  choice
	second choice
	// share of the calls that go to the second choice, of 2^64; zero if there
	// is none.
	share uint64
}

// choice is a version that can run, or the state for which it cannot.
type choice struct {
	target *function.Target
	state  function.State
}

// view makes the readers' view of a group that has its function.
func view(g *group) *deployed {
	d := &deployed{
		functionRecord: g.function.T,
		key:            g.function.key,
		rev:            g.function.rev,
		versions:       maps.Clone(g.versions),
		aliases:        maps.Clone(g.aliases),
		events:         maps.Clone(g.events),
		urls:           maps.Clone(g.urls),
		permissions:    maps.Clone(g.permissions),
		routes:         make(map[string]route, 2+len(g.versions)+len(g.aliases)),
	}
	for _, q := range slices.Sorted(maps.Keys(d.permissions)) {
		for _, p := range d.permissions[q].T.Statements {
			if p.Bound {
				d.bound = append(d.bound, p)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Tags)) {
		d.tags = append(d.tags, call.Tag{Key: key, Value: d.Tags[key]})
	}
	serving := &d.Latest
	if d.Serving != nil {
		serving = d.Serving
	}
	latest := d.choice(serving)
	d.routes[""] = route{first: d.as(latest, "")}
	d.routes[function.Latest] = route{first: d.as(latest, function.Latest)}
	for number, v := range d.versions {
		d.routes[number] = route{first: d.as(d.choice(&v.T.Version), number)}
	}
	for name, a := range d.aliases {
		to, found := d.routes[a.T.Version]
		if !found {
			continue // its version was deleted at the same time by another node
		}
		r := route{first: d.as(to.first, name)}
		for number, weight := range a.T.Weights {
			if second, found := d.routes[number]; found {
				r.second, r.share = d.as(second.first, name), share(weight)
			}
		}
		d.routes[name] = r
	}
	d.rollOut()
	return d
}

// share gives a weight of 0 to 1 as a part of 2^64.
func share(weight float64) uint64 {
	if weight >= 1 {
		return math.MaxUint64
	}
	return uint64(weight * (1 << 63) * 2)
}

// as gives a choice as it is asked for by a qualifier.
func (d *deployed) as(c choice, qualifier string) choice {
	if c.target == nil {
		return c
	}
	t := *c.target
	t.Qualifier, t.Asked = qualifier, d.arn(qualifier)
	return choice{target: &t, state: c.state}
}

// choice makes the target of a version, if the version can run.
func (d *deployed) choice(v *function.Version) choice {
	if v.State != function.Active {
		return choice{state: v.State}
	}
	reserved := -1
	if d.Reserved != nil {
		reserved = *d.Reserved
	}
	limits := v.Limits
	if value, found := d.Tags[fuelTag]; found {
		// It was checked when it was set.
		limits.Fuel, _ = parseFuel(value)
	}
	return choice{state: v.State, target: &function.Target{
		Account:     d.Account,
		AccountUID:  d.AccountUID,
		AccountSlug: d.AccountSlug,
		FunctionUID: d.UID,
		Name:        d.Name,
		Tenancy:     d.Tenancy,
		Version:     v.Number,
		Revision:    v.RevisionID,
		Artifact:    v.Artifact,
		Model:       v.Model,
		Runtime:     v.Runtime,
		Handler:     v.Handler,
		Role:        v.Role,
		RoleUID:     v.RoleUID,
		Limits:      limits,
		Environment: append(environment(&d.functionRecord, v), "AWS_LAMBDA_FUNCTION_VERSION="+v.Number),
		Reserved:    reserved,
		Recursive:   d.Recursive,
		Schema:      function.SchemaRef{Owner: d.AccountUID, Digest: v.Schema},
		ARN:         function.ARN(d.Region, d.Account, d.Name, v.Number),
	}}
}

// environment gives what is equal for all calls and for all versions of one
// build: the declared variables and Lambda's own, sorted. A reactor's image
// is made with it, so the version's number is not in it.
func environment(f *functionRecord, v *function.Version) []string {
	env := []string{
		"AWS_DEFAULT_REGION=" + f.Region,
		"AWS_EXECUTION_ENV=AWS_Lambda_" + string(v.Runtime),
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.Itoa(v.Limits.MemoryMB),
		"AWS_LAMBDA_FUNCTION_NAME=" + string(f.Name),
		"AWS_REGION=" + f.Region,
		"_HANDLER=" + v.Handler,
	}
	for name, value := range v.Environment {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	return slices.Clip(env)
}

// blobs gives the size of every package of the function, and zero for what
// was made from them: what the store of blobs has to keep.
func (d *deployed) blobs() map[blobRef]int64 {
	sizes := map[blobRef]int64{}
	note := func(v *function.Version) {
		sizes[blobRef{d.AccountUID, secret.Code, v.Package}] = v.PackageSize
		if v.Artifact != "" {
			sizes[blobRef{d.AccountUID, secret.Image, v.Artifact}] = 0
		}
		if v.Schema != "" {
			sizes[blobRef{d.AccountUID, secret.Schema, v.Schema}] = 0
		}
	}
	note(&d.Latest)
	if d.Serving != nil {
		note(d.Serving)
	}
	for _, v := range d.versions {
		note(&v.T.Version)
	}
	return sizes
}

// numbers gives the published versions in their order.
func (d *deployed) numbers() []string {
	return slices.SortedFunc(maps.Keys(d.versions), func(a, b string) int { return number(a) - number(b) })
}

// number reads a version number that this package made.
func number(version string) int {
	n, err := strconv.Atoi(version)
	if err != nil {
		return 0
	}
	return n
}

// version finds what a qualifier names; an alias gives its first version.
func (d *deployed) version(qualifier string) (*function.Version, error) {
	if a, found := d.aliases[qualifier]; found {
		qualifier = a.T.Version
	}
	if qualifier == "" || qualifier == function.Latest {
		return &d.Latest, nil
	}
	if v, found := d.versions[qualifier]; found {
		return &v.T.Version, nil
	}
	return nil, functionNotFound(d.arn(qualifier))
}

func (d *deployed) arn(qualifier string) string {
	return function.ARN(d.Region, d.Account, d.Name, qualifier)
}

// functionNotFound has Lambda's own text. It is the same for what never was,
// what was deleted and what is another account's.
func functionNotFound(arn string) error {
	return fault.New("control.Resolve", fault.NotFound, "Function not found: %s", arn).WithCode("ResourceNotFoundException")
}

func notReady(state function.State) error {
	return fault.New("control.Resolve", fault.Conflict,
		"The operation cannot be performed at this time. The function is currently in the following state: %s", state).
		WithCode("ResourceConflictException")
}

// pending lists the builds that the function waits for, by their keys.
func (d *deployed) pending() map[string]pendingBuild {
	list := map[string]pendingBuild{}
	if d.waits() {
		list[d.Build] = pendingBuild{d.Build, d.Warmup, &d.Latest}
	}
	for _, v := range d.versions {
		if v.T.State == function.Pending {
			list[v.T.Build] = pendingBuild{v.T.Build, v.T.Warmup, &v.T.Version}
		}
	}
	return list
}

// waits tells whether $LATEST is being made.
func (d *deployed) waits() bool {
	return d.Latest.State == function.Pending || d.Latest.UpdateStatus == function.UpdateInProgress
}
