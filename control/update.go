package control

import (
	"context"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret"
)

// UpdateFunctionCode gives $LATEST new code. Until its artefact is made, the
// old code serves.
//
// Errors: fault.Conflict while another update is in progress;
// fault.Precondition for another RevisionID; fault.Invalid.
func (s *Service) UpdateFunctionCode(ctx context.Context, g iam.Grant, in UpdateCodeInput) (out FunctionView, err error) {
	const op = "control.UpdateFunctionCode"
	a, d, err := s.change(ctx, g, ActionUpdateCode, in.Name)
	if err != nil {
		return FunctionView{}, err
	}
	defer a.end(&err)
	if err := d.updatable(op, in.RevisionID); err != nil {
		return FunctionView{}, err
	}
	r := d.functionRecord
	if err := s.passes(ctx, g, in.PassRole, d.Latest.Role); err != nil {
		return FunctionView{}, err
	}
	if err := s.storePackage(ctx, &r, in.Package); err != nil {
		return FunctionView{}, err
	}
	if in.DryRun {
		s.discardBlob(a.account, blobRef{r.AccountUID, secret.Code, r.Latest.Package})
		return d.show(&r.Latest, ""), nil
	}
	if d, err = s.update(ctx, d, r); err != nil {
		return FunctionView{}, err
	}
	if in.Publish {
		return s.publish(ctx, d, d.Latest.Description)
	}
	return d.show(&d.Latest, ""), nil
}

// UpdateFunctionConfiguration changes the configuration of $LATEST. Errors as
// of UpdateFunctionCode and, for the role, of CreateFunction.
func (s *Service) UpdateFunctionConfiguration(ctx context.Context, g iam.Grant, in UpdateConfigurationInput) (out FunctionView, err error) {
	const op = "control.UpdateFunctionConfiguration"
	a, d, err := s.change(ctx, g, ActionUpdateConfig, in.Name)
	if err != nil {
		return FunctionView{}, err
	}
	defer a.end(&err)
	if err := d.updatable(op, in.RevisionID); err != nil {
		return FunctionView{}, err
	}
	r := d.functionRecord
	in.apply(&r.Latest)
	if err := s.checkVersion(op, a.account, &r.Latest); err != nil {
		return FunctionView{}, err
	}
	if err := s.passes(ctx, g, in.PassRole, r.Latest.Role); err != nil {
		return FunctionView{}, err
	}
	if in.Role != nil {
		if err := s.takeRole(op, &r); err != nil {
			return FunctionView{}, err
		}
	}
	if d, err = s.update(ctx, d, r); err != nil {
		return FunctionView{}, err
	}
	return d.show(&d.Latest, ""), nil
}

func (in *UpdateConfigurationInput) apply(v *function.Version) {
	assign(&v.Description, in.Description)
	assign(&v.Runtime, in.Runtime)
	assign(&v.Handler, in.Handler)
	assign(&v.Role, in.Role)
	assign(&v.Limits.MemoryMB, in.MemoryMB)
	if in.TimeoutSec != nil {
		// Bounded before it is multiplied, so that it cannot wrap around.
		v.Limits.Timeout = time.Duration(min(max(*in.TimeoutSec, -1), 1<<20)) * time.Second
	}
	if in.Environment != nil {
		v.Environment = maps.Clone(in.Environment)
	}
}

func assign[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// updatable refuses while $LATEST is being made, and on another revision.
func (d *deployed) updatable(op, revision string) error {
	if err := d.settled(op); err != nil {
		return err
	}
	return d.checkRevision(op, revision)
}

// update writes a changed $LATEST. If its artefact has to be made, what
// served until now goes on serving and a build is queued; else the change is
// in force at once.
func (s *Service) update(ctx context.Context, d *deployed, r functionRecord) (*deployed, error) {
	r.Warmup = r.Tags[warmupTag]
	r.Build = buildKey(&r)
	r.Latest.LastModified, r.Latest.RevisionID = s.cfg.Now().UTC(), uuid.NewString()
	build := r.Build != d.Build || d.Latest.Artifact == ""
	if build {
		if d.Latest.State == function.Active && d.Latest.Artifact != "" {
			serving := d.Latest
			r.Serving = &serving
		}
		r.Latest.Artifact, r.Latest.Model = "", ""
		r.Latest.UpdateStatus, r.Latest.UpdateReason, r.Latest.UpdateReasonCode = function.UpdateInProgress, updating, updatingCode
		if r.Serving == nil {
			r.Latest.State, r.Latest.StateReason, r.Latest.StateReasonCode = function.Pending, creating, creatingCode
		}
	} else {
		r.Latest.UpdateStatus, r.Latest.UpdateReason, r.Latest.UpdateReasonCode = function.UpdateSuccessful, "", ""
	}
	put := s.write
	if r.Latest.Role != d.Latest.Role {
		put = func(ctx context.Context, writes []write) error { return s.commit(ctx, writes...) }
	}
	if err := put(ctx, []write{{d.key, d.rev, r}}); err != nil {
		return nil, err
	}
	if build {
		s.builds.add(d.Account, d.UID)
	} else {
		s.discard(d)
	}
	next, _ := s.ix.functions.get(functionName{d.Account, d.Name})
	return next, nil
}
