package control

import (
	"context"
	"maps"
	"slices"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// unreserved is how much of an account's concurrency stays for functions
// without a reservation: a tenth, as Lambda's 100 of 1,000, and at most 100.
func unreserved(concurrency int) int { return min(100, concurrency/10) }

// PutConcurrency reserves concurrency for a function: it never has more, and
// others cannot use it up.
//
// Errors: fault.Invalid for less than 0 or more than the account can reserve.
func (s *Service) PutConcurrency(ctx context.Context, g iam.Grant, name function.Name, reserved int) (err error) {
	const op = "control.PutConcurrency"
	a, d, err := s.change(ctx, g, ActionPutConcurrency, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if reserved < 0 {
		return constraint(op, "reservedConcurrentExecutions", "reservedConcurrentExecutions", "Member must have value greater than or equal to 0")
	}
	others := s.ix.reservedOf(a.account)
	if d.Reserved != nil {
		others -= *d.Reserved
	}
	plan := s.PlanOf(a.account)
	if least := unreserved(plan.Concurrency); reserved > plan.Concurrency-least-others {
		return invalid(op, "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", least)
	}
	r := d.functionRecord
	r.Reserved = &reserved
	return s.save(ctx, d.key, d.rev, r)
}

// GetConcurrency gives a function's reserved concurrency; nil if there is none.
func (s *Service) GetConcurrency(ctx context.Context, g iam.Grant, name function.Name) (*int, error) {
	d, err := s.read(ctx, g, ActionGetConcurrency, name)
	if err != nil {
		return nil, err
	}
	return d.Reserved, nil
}

// DeleteConcurrency ends a reservation.
func (s *Service) DeleteConcurrency(ctx context.Context, g iam.Grant, name function.Name) (err error) {
	a, d, err := s.change(ctx, g, ActionDeleteConcurrency, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if d.Reserved == nil {
		return nil
	}
	r := d.functionRecord
	r.Reserved = nil
	return s.save(ctx, d.key, d.rev, r)
}

// TagResource adds tags to a function, or changes them.
func (s *Service) TagResource(ctx context.Context, g iam.Grant, name function.Name, tags map[string]string) (err error) {
	a, d, err := s.change(ctx, g, ActionTagResource, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	r := d.functionRecord
	r.Tags = maps.Clone(r.Tags)
	if r.Tags == nil {
		r.Tags = map[string]string{}
	}
	maps.Copy(r.Tags, tags)
	if err := checkTags("control.TagResource", r.Tags); err != nil {
		return err
	}
	return s.commit(ctx, write{d.key, d.rev, r})
}

// UntagResource removes tags; those that are not there are no error.
func (s *Service) UntagResource(ctx context.Context, g iam.Grant, name function.Name, keys []string) (err error) {
	a, d, err := s.change(ctx, g, ActionUntagResource, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	r := d.functionRecord
	r.Tags = maps.Clone(r.Tags)
	for _, key := range keys {
		delete(r.Tags, key)
	}
	return s.commit(ctx, write{d.key, d.rev, r})
}

// ListTags gives a function's tags.
func (s *Service) ListTags(ctx context.Context, g iam.Grant, name function.Name) (map[string]string, error) {
	d, err := s.read(ctx, g, ActionListTags, name)
	if err != nil {
		return nil, err
	}
	return maps.Clone(d.Tags), nil
}

// PutEventConfig sets how asynchronous calls of a qualifier are retried, and
// forgets what was set before. The qualifier is $LATEST if empty.
//
// Errors: fault.Invalid, also for destinations, which are not built;
// fault.NotFound for a qualifier that is not there.
func (s *Service) PutEventConfig(ctx context.Context, g iam.Grant, name function.Name, c function.EventConfig) (function.EventConfig, error) {
	return s.setEventConfig(ctx, g, ActionPutEventConfig, namedConfig{name, c})
}

// UpdateEventConfig is PutEventConfig that leaves what is nil as it was.
func (s *Service) UpdateEventConfig(ctx context.Context, g iam.Grant, name function.Name, c function.EventConfig) (function.EventConfig, error) {
	return s.setEventConfig(ctx, g, ActionUpdateEventConfig, namedConfig{name, c})
}

type namedConfig struct {
	name   function.Name
	config function.EventConfig
}

func (s *Service) setEventConfig(ctx context.Context, g iam.Grant, action string, in namedConfig) (out function.EventConfig, err error) {
	const op = "control.PutEventConfig"
	a, d, err := s.change(ctx, g, action, in.name)
	if err != nil {
		return function.EventConfig{}, err
	}
	defer a.end(&err)
	c := in.config
	if c.Qualifier == "" {
		c.Qualifier = function.Latest
	}
	if _, err := d.version(c.Qualifier); err != nil {
		return function.EventConfig{}, err
	}
	if err := checkEventConfig(op, c); err != nil {
		return function.EventConfig{}, err
	}
	before, exists := d.events[c.Qualifier]
	if action == ActionUpdateEventConfig {
		if !exists {
			return function.EventConfig{}, d.noEventConfig(op, c.Qualifier)
		}
		if c.MaximumRetries == nil {
			c.MaximumRetries = before.T.MaximumRetries
		}
		if c.MaximumEventAgeSec == nil {
			c.MaximumEventAgeSec = before.T.MaximumEventAgeSec
		}
	}
	c.LastModified = s.cfg.Now().UTC()
	r := eventRecord{EventConfig: c, Function: d.UID}
	if exists {
		return c, s.save(ctx, before.key, before.rev, r)
	}
	k, err := s.hide(eventFamily, d.AccountUID, c.Qualifier, string(d.UID))
	if err != nil {
		return function.EventConfig{}, err
	}
	return c, s.save(ctx, k, 0, r)
}

func checkEventConfig(op string, c function.EventConfig) error {
	switch {
	case c.OnSuccess != "" || c.OnFailure != "":
		return fault.New(op, fault.Invalid, "Destinations of asynchronous calls are not there.").WithCode("InvalidParameterValueException").
			WithRemedy("Leave DestinationConfig out; calls that were given up are kept and can be listed.")
	case c.MaximumRetries == nil && c.MaximumEventAgeSec == nil:
		return invalid(op, "You must specify at least one of error handling or destination setting.")
	case c.MaximumRetries != nil && *c.MaximumRetries < 0:
		return constraint(op, "maximumRetryAttempts", "maximumRetryAttempts", "Member must have value greater than or equal to 0")
	case c.MaximumRetries != nil && *c.MaximumRetries > maxRetries:
		return constraint(op, "maximumRetryAttempts", "maximumRetryAttempts", "Member must have value less than or equal to 2")
	case c.MaximumEventAgeSec != nil && *c.MaximumEventAgeSec < minEventAge:
		return constraint(op, "maximumEventAgeInSeconds", "maximumEventAgeInSeconds", "Member must have value greater than or equal to 60")
	case c.MaximumEventAgeSec != nil && *c.MaximumEventAgeSec > maxEventAge:
		return constraint(op, "maximumEventAgeInSeconds", "maximumEventAgeInSeconds", "Member must have value less than or equal to 21600")
	}
	return nil
}

func (d *deployed) noEventConfig(op, qualifier string) error {
	return fault.New(op, fault.NotFound, "The function %s doesn't have an EventInvokeConfig", d.arn(qualifier)).WithCode("ResourceNotFoundException")
}

// GetEventConfig gives the configuration of a qualifier; $LATEST if empty.
func (s *Service) GetEventConfig(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (function.EventConfig, error) {
	d, err := s.read(ctx, g, ActionGetEventConfig, name)
	if err != nil {
		return function.EventConfig{}, err
	}
	if qualifier == "" {
		qualifier = function.Latest
	}
	c, found := d.events[qualifier]
	if !found {
		return function.EventConfig{}, d.noEventConfig("control.GetEventConfig", qualifier)
	}
	return c.T.EventConfig, nil
}

// DeleteEventConfig removes the configuration of a qualifier; $LATEST if empty.
func (s *Service) DeleteEventConfig(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (err error) {
	a, d, err := s.change(ctx, g, ActionDeleteEventConfig, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if qualifier == "" {
		qualifier = function.Latest
	}
	c, found := d.events[qualifier]
	if !found {
		return d.noEventConfig("control.DeleteEventConfig", qualifier)
	}
	return s.remove(ctx, c.key, c.rev)
}

// ListEventConfigs lists the configurations of a function's qualifiers.
func (s *Service) ListEventConfigs(ctx context.Context, g iam.Grant, name function.Name, in ListInput) (Page[function.EventConfig], error) {
	d, err := s.read(ctx, g, ActionListEventConfigs, name)
	if err != nil {
		return Page[function.EventConfig]{}, err
	}
	return pageOf("control.ListEventConfigs", in.page(), slices.Collect(maps.Keys(d.events)), func(q string) (function.EventConfig, error) {
		return d.events[q].T.EventConfig, nil
	})
}

// EventConfigOf gives how an asynchronous call of a target that was resolved
// under its qualifier is retried: 2 times within 6 hours where nothing is
// set, as Lambda does. It is for the pipeline, answers from memory and takes
// no grant: the call itself has one.
func (s *Service) EventConfigOf(account tenant.AccountID, t *function.Target) (retries, maxAgeSeconds int) {
	retries, maxAgeSeconds = maxRetries, maxEventAge
	d, found := s.ix.functions.get(functionName{account, t.Name})
	if !found {
		return retries, maxAgeSeconds
	}
	qualifier := t.Qualifier
	if qualifier == "" {
		qualifier = function.Latest
	}
	if c, found := d.events[qualifier]; found {
		assign(&retries, c.T.MaximumRetries)
		assign(&maxAgeSeconds, c.T.MaximumEventAgeSec)
	}
	return retries, maxAgeSeconds
}
