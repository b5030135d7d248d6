package control

import (
	"context"
	"maps"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

// CreateAlias makes an alias of a version.
//
// Errors: fault.Conflict if it exists; fault.NotFound for a version that does
// not; fault.Invalid.
func (s *Service) CreateAlias(ctx context.Context, g iam.Grant, in AliasInput) (out function.Alias, err error) {
	const op = "control.CreateAlias"
	a, d, err := s.change(ctx, g, ActionCreateAlias, in.Name)
	if err != nil {
		return function.Alias{}, err
	}
	defer a.end(&err)
	if _, err := function.ParseAliasName(in.Alias); err != nil {
		return function.Alias{}, constraint(op, printable(in.Alias), "name", `Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)`)
	}
	if _, exists := d.aliases[in.Alias]; exists {
		return function.Alias{}, fault.New(op, fault.Conflict, "Alias already exists: %s", d.arn(in.Alias)).WithCode("ResourceConflictException")
	}
	if len(d.aliases) >= MaxAliases {
		return function.Alias{}, overLimit(op, "aliases of the function", MaxAliases)
	}
	r := aliasRecord{Alias: function.Alias{Name: in.Alias}, Function: d.UID}
	if err := d.change(op, &r.Alias, in); err != nil {
		return function.Alias{}, err
	}
	k, err := s.hide(aliasFamily, d.AccountUID, in.Alias, string(d.UID))
	if err != nil {
		return function.Alias{}, err
	}
	return r.Alias, s.save(ctx, k, 0, r)
}

// UpdateAlias changes an alias. Errors as of CreateAlias; fault.NotFound if
// there is none; fault.Precondition for another RevisionID.
func (s *Service) UpdateAlias(ctx context.Context, g iam.Grant, in AliasInput) (out function.Alias, err error) {
	const op = "control.UpdateAlias"
	a, d, err := s.change(ctx, g, ActionUpdateAlias, in.Name)
	if err != nil {
		return function.Alias{}, err
	}
	defer a.end(&err)
	alias, found := d.aliases[in.Alias]
	if !found {
		return function.Alias{}, d.noAlias(op, in.Alias)
	}
	if in.RevisionID != "" && in.RevisionID != alias.T.RevisionID {
		return function.Alias{}, fault.New(op, fault.Precondition, revisionFailed).WithCode("PreconditionFailedException")
	}
	if r, is := d.Rollouts[in.Alias]; is && r.State == RolloutRunning && (in.Version != nil || in.Weights != nil) {
		return function.Alias{}, fault.New(op, fault.Conflict, "A roll-out decides which version the alias %s has.", in.Alias).
			WithCode("ResourceConflictException").WithRemedy("Promote it or roll it back first.")
	}
	r := alias.T
	if err := d.change(op, &r.Alias, in); err != nil {
		return function.Alias{}, err
	}
	return r.Alias, s.save(ctx, alias.key, alias.rev, r)
}

// change puts an input into an alias and checks the whole.
func (d *deployed) change(op string, a *function.Alias, in AliasInput) error {
	assign(&a.Version, in.Version)
	assign(&a.Description, in.Description)
	if in.Weights != nil {
		a.Weights = maps.Clone(in.Weights)
	}
	a.RevisionID = uuid.NewString()
	if len(a.Description) > maxDescription {
		return constraint(op, printable(a.Description), "description", "Member must have length less than or equal to 256")
	}
	if err := d.aliasable(op, a.Version); err != nil {
		return err
	}
	if len(a.Weights) > 1 {
		return invalid(op, "Number of items in AdditionalVersionWeights cannot be greater than 1")
	}
	for version, weight := range a.Weights {
		switch {
		case a.Version == function.Latest || version == function.Latest:
			return invalid(op, "$LATEST is not supported for an alias pointing to more than 1 version")
		case version == a.Version:
			return invalid(op, "Invalid function version %s. Function version %s is already included in routing configuration.", version, version)
		case !(weight >= 0 && weight <= 1): // so that NaN is refused
			return constraint(op, "routingConfig", "routingConfig.additionalVersionWeights", "Map value must satisfy constraint: [Member must have value less than or equal to 1, Member must have value greater than or equal to 0]")
		}
		if err := d.aliasable(op, version); err != nil {
			return err
		}
	}
	return nil
}

// aliasable refuses what an alias cannot point to.
func (d *deployed) aliasable(op, version string) error {
	if version != function.Latest && !function.IsVersion(version) {
		return constraint(op, printable(version), "functionVersion", `Member must satisfy regular expression pattern: (\$LATEST|[0-9]+)`)
	}
	_, err := d.version(version)
	return err
}

func (d *deployed) noAlias(op, alias string) error {
	return fault.New(op, fault.NotFound, "Cannot find alias arn: %s", d.arn(alias)).WithCode("ResourceNotFoundException")
}

// GetAlias gives an alias.
func (s *Service) GetAlias(ctx context.Context, g iam.Grant, name function.Name, alias string) (function.Alias, error) {
	d, err := s.read(ctx, g, ActionGetAlias, name)
	if err != nil {
		return function.Alias{}, err
	}
	a, found := d.aliases[alias]
	if !found {
		return function.Alias{}, d.noAlias("control.GetAlias", alias)
	}
	return a.T.Alias, nil
}

// DeleteAlias removes an alias. As with Lambda, one that is not there is no
// error.
func (s *Service) DeleteAlias(ctx context.Context, g iam.Grant, name function.Name, alias string) (err error) {
	a, d, err := s.change(ctx, g, ActionDeleteAlias, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	found, exists := d.aliases[alias]
	if !exists {
		return nil
	}
	if err := s.removePermissions(ctx, d, alias); err != nil {
		return err
	}
	if u, exists := d.urls[alias]; exists {
		if err := s.remove(ctx, u.key, u.rev); err != nil {
			return err
		}
	}
	if e, exists := d.events[alias]; exists {
		if err := s.remove(ctx, e.key, e.rev); err != nil {
			return err
		}
	}
	return s.remove(ctx, found.key, found.rev)
}

// ListAliases lists the aliases by name; those that point to in.Version, by
// weight too, if it is named.
func (s *Service) ListAliases(ctx context.Context, g iam.Grant, in ListAliasesInput) (Page[function.Alias], error) {
	d, err := s.read(ctx, g, ActionListAliases, in.Name)
	if err != nil {
		return Page[function.Alias]{}, err
	}
	var names []string
	for name, a := range d.aliases {
		_, weighted := a.T.Weights[in.Version]
		if in.Version == "" || weighted || a.T.Version == in.Version {
			names = append(names, name)
		}
	}
	return pageOf("control.ListAliases", PageInput{in.Marker, in.MaxItems}, names, func(name string) (function.Alias, error) {
		return d.aliases[name].T.Alias, nil
	})
}
