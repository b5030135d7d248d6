package control

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// A function that serves end tenants is published once, for all of them. A
// roll-out brings a version to some of them first: those of a list, those whose
// linked account has a tag, or a share of all. It is about what callers name: the
// function's bare name, or an alias. Promoting it brings the version to all, and
// rolling it back to none; either is one write.
//
// A share is taken by a hash of the end tenant's and the function's internal
// ids. So an end tenant that has the new version keeps it when the share grows,
// on every node.

// The actions on roll-outs and pins.
const (
	ActionStartRollout    = "carrel:StartRollout"
	ActionGetRollout      = "carrel:GetRollout"
	ActionPromoteRollout  = "carrel:PromoteRollout"
	ActionRollbackRollout = "carrel:RollbackRollout"
	ActionPinVersion      = "carrel:PinVersion"
	ActionUnpinVersion    = "carrel:UnpinVersion"
)

// The states of a roll-out.
const (
	RolloutRunning    = "running"
	RolloutPromoted   = "promoted"
	RolloutRolledBack = "rolledBack"
)

// The bounds of what a function's record holds of them.
const (
	maxRolloutTenants = 500
	maxPins           = 200
)

// Cohort says who gets a version first. Whoever one of the three names is in it.
type Cohort struct {
	Tenants []tenant.EndTenantID `json:"tenants,omitempty"`
	// TagKey and TagValue name a tag of the accounts that are linked for end
	// tenants; an empty value stands for every one.
	TagKey   string `json:"tagKey,omitempty"`
	TagValue string `json:"tagValue,omitempty"`
	// Percent is a share of all end tenants, of 100.
	Percent float64 `json:"percent,omitempty"`
}

// Rollout brings a version to end tenants.
type Rollout struct {
	// Qualifier is the alias that it is about; empty for the bare name.
	Qualifier string `json:"qualifier,omitempty"`
	// From is the version before, and To the one that is brought out.
	From      string    `json:"from"`
	To        string    `json:"to"`
	Cohort    Cohort    `json:"cohort,omitzero"`
	State     string    `json:"state"`
	By        string    `json:"by"`
	StartedAt time.Time `json:"startedAt"`
	ChangedAt time.Time `json:"changedAt"`
}

// RolloutInput says what to bring out. To is the version that was published last
// if empty.
type RolloutInput struct {
	Name      function.Name
	Qualifier string
	To        string
	Cohort    Cohort
}

// RolloutView is a roll-out with how far it is.
type RolloutView struct {
	Rollout
	// EndTenants is how many the account has, and Moved how many of them get To.
	EndTenants int
	Moved      int
}

// at gives the version that an end tenant gets; false where the alias says so.
func (r *Rollout) at(in bool) (version string, decides bool) {
	switch {
	case r.State == RolloutRunning && in:
		return r.To, true
	case r.State == RolloutRunning:
		return r.From, true
	case r.Qualifier != "":
		return "", false
	case r.State == RolloutPromoted:
		return r.To, true
	}
	return r.From, true
}

// inShare tells whether a share of end tenants has one in it.
func inShare(percent float64, of, endTenant tenant.UID) bool {
	sum := sha256.Sum256([]byte(string(of) + "/" + string(endTenant)))
	return float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<53)*100 < percent
}

// includes tells whether an end tenant of a function is in the cohort.
func (s *Service) includes(c *Cohort, d *deployed, e *tenant.EndTenant) bool {
	if c.Percent > 0 && inShare(c.Percent, d.UID, e.UID) || slices.Contains(c.Tenants, e.ID) {
		return true
	}
	if c.TagKey == "" {
		return false
	}
	a, linked := s.linkedFor(d.Account, e.ID, e.UID)
	if !linked {
		return false
	}
	value, tagged := a.Tags[c.TagKey]
	return tagged && (c.TagValue == "" || c.TagValue == value)
}

// versionFor gives the target that a call's end tenant gets: the pinned version,
// the one of a roll-out, or else what was resolved. Who names a version gets that
// one.
//
// Errors: fault.Conflict for a version that is not Active.
func (s *Service) versionFor(d *deployed, c *call.Call) (*function.Target, error) {
	t := c.Target
	if len(d.Pins) == 0 && len(d.Rollouts) == 0 {
		return t, nil
	}
	if pinned, found := d.pinned[pinName{c.EndTenant, t.Qualifier}]; found {
		return pinned.get()
	}
	r, found := d.rolled[t.Qualifier]
	if !found {
		return t, nil
	}
	to := s.includes(&r.of.Cohort, d, &tenant.EndTenant{ID: c.EndTenant, UID: c.Owner.EndTenant})
	version, decides := r.of.at(to)
	switch {
	case !decides:
		return t, nil
	case version == r.of.To:
		return r.to.get()
	}
	return r.from.get()
}

// get gives the target of a version that can run.
func (c choice) get() (*function.Target, error) {
	if c.target == nil {
		return nil, notReady(c.state)
	}
	return c.target, nil
}

// pinName is what a pin decides: calls for one end tenant by one qualifier.
type pinName struct {
	endTenant tenant.EndTenantID
	qualifier string
}

// rolled is a roll-out with the versions that it decides between.
type rolled struct {
	of       *Rollout
	from, to choice
}

// rollOut works out what roll-outs and pins decide. The routes are known.
func (d *deployed) rollOut() {
	named := []string{""}
	for name := range d.aliases {
		named = append(named, name)
	}
	for id, version := range d.Pins {
		for _, q := range named {
			if d.pinned == nil {
				d.pinned = map[pinName]choice{}
			}
			d.pinned[pinName{id, q}] = d.as(d.routes[version].first, q)
		}
	}
	for q := range d.Rollouts {
		r := d.Rollouts[q]
		if d.rolled == nil {
			d.rolled = map[string]rolled{}
		}
		d.rolled[q] = rolled{&r, d.as(d.routes[r.From].first, q), d.as(d.routes[r.To].first, q)}
	}
}

// runsIn tells whether a roll-out or a pin needs a version.
func (d *deployed) runsIn(version string) (what string, is bool) {
	for q, r := range d.Rollouts {
		for _, in := range []bool{false, true} {
			if at, decides := r.at(in); decides && at == version {
				return "the roll-out of " + d.arn(q), true
			}
		}
	}
	for id, pinned := range d.Pins {
		if pinned == version {
			return "the pin of the tenant " + string(id), true
		}
	}
	return "", false
}

// StartRollout begins to bring a version to a cohort, or widens or narrows the
// cohort of a roll-out that runs.
//
// Errors: fault.Invalid for a function that serves no end tenants and for a
// cohort of nobody; fault.NotFound for the alias or the version; fault.Conflict
// while another version is brought out, and for a version that is not Active.
func (s *Service) StartRollout(ctx context.Context, g iam.Grant, in RolloutInput) (v RolloutView, err error) {
	const op = "control.StartRollout"
	a, d, err := s.change(ctx, g, ActionStartRollout, in.Name)
	if err != nil {
		return RolloutView{}, err
	}
	defer a.end(&err)
	if err := d.checkCohort(op, &in.Cohort); err != nil {
		return RolloutView{}, err
	}
	from, err := d.servedBy(op, in.Qualifier)
	if err != nil {
		return RolloutView{}, err
	}
	if in.To == "" {
		in.To = strconv.Itoa(d.NextVer - 1)
	}
	if at, found := d.routes[in.To]; !found || in.To != function.Latest && !function.IsVersion(in.To) {
		return RolloutView{}, functionNotFound(d.arn(in.To))
	} else if _, err := at.first.get(); err != nil {
		return RolloutView{}, err
	}
	now := s.cfg.Now().UTC()
	r := Rollout{Qualifier: in.Qualifier, From: from, To: in.To, State: RolloutRunning, By: g.Request().Principal.ARN, StartedAt: now}
	if running, is := d.Rollouts[in.Qualifier]; is && running.State == RolloutRunning {
		if running.To != in.To {
			return RolloutView{}, fault.New(op, fault.Conflict, "Version %s is being brought out to %s.", running.To, d.arn(in.Qualifier)).
				WithCode("ResourceConflictException").WithRemedy("Promote it or roll it back first.")
		}
		r = running
	}
	if r.From == r.To {
		return RolloutView{}, fault.New(op, fault.Conflict, "All end tenants have version %s already.", r.To).WithCode("ResourceConflictException")
	}
	r.Cohort, r.ChangedAt = in.Cohort, now
	return s.putRollout(ctx, d, r)
}

// servedBy gives the version that calls by a qualifier run where no roll-out is
// under way.
func (d *deployed) servedBy(op, qualifier string) (string, error) {
	if qualifier == "" {
		if r, found := d.Rollouts[""]; found {
			version, _ := r.at(false)
			return version, nil
		}
		return function.Latest, nil
	}
	alias, found := d.aliases[qualifier]
	switch {
	case !found:
		return "", d.noAlias(op, printable(qualifier))
	case len(alias.T.Weights) > 0:
		return "", fault.New(op, fault.Conflict, "The alias %s divides calls by weight.", qualifier).WithCode("ResourceConflictException").
			WithRemedy("Take the weights away: a roll-out divides them by end tenant.")
	}
	return alias.T.Version, nil
}

func (d *deployed) checkCohort(op string, c *Cohort) error {
	switch {
	case d.Tenancy != function.PerTenant:
		return invalid(op, "The function %s serves no end tenants.", d.Name)
	case !(c.Percent >= 0 && c.Percent <= 100): // so that NaN is refused
		return invalid(op, "A share is 0 to 100 percent.")
	case len(c.Tenants) > maxRolloutTenants:
		return invalid(op, "A roll-out names at most %d tenants.", maxRolloutTenants)
	case len(c.TagKey) > maxTagKey || len(c.TagValue) > maxTagValue || c.TagKey == "" && c.TagValue != "":
		return invalid(op, "The tag is not one.")
	case len(c.Tenants) == 0 && c.TagKey == "" && c.Percent == 0:
		return invalid(op, "Say who gets the version first: tenants, a tag, or a share of them.")
	}
	for _, id := range c.Tenants {
		if _, err := tenant.ParseEndTenantID(string(id)); err != nil {
			return invalid(op, "%v", err)
		}
	}
	slices.Sort(c.Tenants)
	c.Tenants = slices.Compact(c.Tenants)
	return nil
}

// putRollout writes a roll-out, and shows it.
func (s *Service) putRollout(ctx context.Context, d *deployed, r Rollout) (RolloutView, error) {
	record := d.functionRecord
	record.Rollouts = maps.Clone(record.Rollouts)
	if record.Rollouts == nil {
		record.Rollouts = map[string]Rollout{}
	}
	record.Rollouts[r.Qualifier] = r
	if err := s.save(ctx, d.key, d.rev, record); err != nil {
		return RolloutView{}, err
	}
	return s.showRollout(d, r), nil
}

func (s *Service) showRollout(d *deployed, r Rollout) RolloutView {
	v := RolloutView{Rollout: r}
	s.ix.endTenants.each(func(name endName, e *tenant.EndTenant) {
		if name.account != d.Account {
			return
		}
		v.EndTenants++
		if r.State == RolloutPromoted || r.State == RolloutRunning && s.includes(&r.Cohort, d, e) {
			v.Moved++
		}
	})
	return v
}

// GetRollout gives the last roll-out of the bare name or of an alias.
func (s *Service) GetRollout(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (RolloutView, error) {
	d, err := s.read(ctx, g, ActionGetRollout, name)
	if err != nil {
		return RolloutView{}, err
	}
	r, found := d.Rollouts[qualifier]
	if !found {
		return RolloutView{}, d.noRollout("control.GetRollout", qualifier)
	}
	return s.showRollout(d, r), nil
}

func (d *deployed) noRollout(op, qualifier string) error {
	return fault.New(op, fault.NotFound, "There is no roll-out of %s.", d.arn(printable(qualifier))).WithCode("ResourceNotFoundException")
}

// PromoteRollout brings the version to all end tenants.
//
// Errors: fault.NotFound; fault.Conflict for a roll-out that has ended.
func (s *Service) PromoteRollout(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (RolloutView, error) {
	return s.endRollout(ctx, g, rolloutEnd{name, qualifier, ActionPromoteRollout, RolloutPromoted})
}

// RollbackRollout gives all end tenants the version before, also after the
// version was promoted. Errors as of PromoteRollout.
func (s *Service) RollbackRollout(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (RolloutView, error) {
	return s.endRollout(ctx, g, rolloutEnd{name, qualifier, ActionRollbackRollout, RolloutRolledBack})
}

type rolloutEnd struct {
	name      function.Name
	qualifier string
	action    string
	state     string
}

func (s *Service) endRollout(ctx context.Context, g iam.Grant, end rolloutEnd) (v RolloutView, err error) {
	op := "control." + strings.TrimPrefix(end.action, "carrel:")
	a, d, err := s.change(ctx, g, end.action, end.name)
	if err != nil {
		return RolloutView{}, err
	}
	defer a.end(&err)
	r, found := d.Rollouts[end.qualifier]
	if !found {
		return RolloutView{}, d.noRollout(op, end.qualifier)
	}
	if r.State == end.state || r.State == RolloutRolledBack {
		return RolloutView{}, fault.New(op, fault.Conflict, "The roll-out is %s.", r.State).WithCode("ResourceConflictException").
			WithRemedy("Start another one.")
	}
	to := r.From
	if r.State, r.ChangedAt = end.state, s.cfg.Now().UTC(); end.state == RolloutPromoted {
		to = r.To
	}
	at, there := d.routes[to]
	if !there {
		return RolloutView{}, functionNotFound(d.arn(to))
	}
	if _, err := at.first.get(); err != nil {
		return RolloutView{}, err
	}
	if alias, is := d.aliases[end.qualifier]; is && alias.T.Version != to {
		if alias.T.Version != r.From && alias.T.Version != r.To {
			return RolloutView{}, fault.New(op, fault.Conflict, "The alias %s was given version %s since.", end.qualifier, alias.T.Version).
				WithCode("ResourceConflictException").WithRemedy("Use UpdateAlias.")
		}
		// As long as the roll-out runs it decides, and not the alias: so callers
		// see one change, which is the next write.
		next := alias.T
		next.Version, next.RevisionID = to, uuid.NewString()
		if err := s.save(ctx, alias.key, alias.rev, next); err != nil {
			return RolloutView{}, err
		}
	}
	return s.putRollout(ctx, d, r)
}

// PinInput keeps an end tenant on a version, whatever is brought out: for calls
// by the bare name and by aliases.
type PinInput struct {
	Name      function.Name
	EndTenant tenant.EndTenantID
	Version   string
}

// PinVersion pins an end tenant.
//
// Errors: fault.NotFound for the version; fault.Invalid; fault.Throttled over
// the most pins of a function.
func (s *Service) PinVersion(ctx context.Context, g iam.Grant, in PinInput) (err error) {
	const op = "control.PinVersion"
	a, d, err := s.change(ctx, g, ActionPinVersion, in.Name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if _, err := tenant.ParseEndTenantID(string(in.EndTenant)); err != nil {
		return invalid(op, "%v", err)
	}
	if d.Tenancy != function.PerTenant {
		return invalid(op, "The function %s serves no end tenants.", d.Name)
	}
	if _, found := d.versions[in.Version]; !found {
		return functionNotFound(d.arn(printable(in.Version)))
	}
	if _, is := d.Pins[in.EndTenant]; !is && len(d.Pins) >= maxPins {
		return overLimit(op, "pins of the function", maxPins)
	}
	r := d.functionRecord
	if r.Pins = maps.Clone(r.Pins); r.Pins == nil {
		r.Pins = map[tenant.EndTenantID]string{}
	}
	r.Pins[in.EndTenant] = in.Version
	return s.save(ctx, d.key, d.rev, r)
}

// UnpinVersion ends a pin; one that is not there is no error.
func (s *Service) UnpinVersion(ctx context.Context, g iam.Grant, in PinInput) (err error) {
	a, d, err := s.change(ctx, g, ActionUnpinVersion, in.Name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if _, is := d.Pins[in.EndTenant]; !is {
		return nil
	}
	r := d.functionRecord
	r.Pins = maps.Clone(r.Pins)
	delete(r.Pins, in.EndTenant)
	return s.save(ctx, d.key, d.rev, r)
}
