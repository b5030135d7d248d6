package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/tenant"
)

// The texts of Lambda for versions that are being made.
const (
	creating       = "The function is being created."
	creatingCode   = "Creating"
	updating       = "The function is being updated."
	updatingCode   = "Creating"
	invalidCode    = "InvalidZipFileException"
	internalCode   = "InternalError"
	revisionFailed = "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)

// CreateFunction makes a function, which is Pending until its artefact has
// been made in the background.
//
// Errors: fault.Invalid for what is wrong with the configuration or the
// package, and for a role that does not trust Lambda; fault.Conflict if the
// function exists; fault.Denied for another account's role, and for a PassRole
// that is not for this role; fault.Throttled over MaxFunctions.
func (s *Service) CreateFunction(ctx context.Context, g iam.Grant, in CreateFunctionInput) (out FunctionView, err error) {
	a, err := s.begin(ctx, g, ActionCreateFunction, s.FunctionResource(g.Request().Owner.Account, in.Name))
	if err != nil {
		return FunctionView{}, err
	}
	defer a.end(&err)
	r, err := s.newFunction(a.account, in)
	if err == nil {
		err = s.passes(ctx, g, in.PassRole, in.Role)
	}
	if err == nil {
		err = s.takeRole("control.CreateFunction", r)
	}
	if err != nil {
		return FunctionView{}, err
	}
	if _, exists := s.ix.functions.get(functionName{a.account, in.Name}); exists {
		return FunctionView{}, fault.New("control.CreateFunction", fault.Conflict, "Function already exist: %s", in.Name).
			WithCode("ResourceConflictException")
	}
	if s.ix.functionCount(a.account) >= MaxFunctions {
		return FunctionView{}, overLimit("control.CreateFunction", "functions of the account", MaxFunctions)
	}
	if err := s.storePackage(ctx, r, in.Package); err != nil {
		return FunctionView{}, err
	}
	r.Build = buildKey(r)
	k, err := s.hide(functionFamily, r.AccountUID, string(in.Name))
	if err != nil {
		return FunctionView{}, err
	}
	// What it runs as decides what its calls may reach.
	if err := s.commit(ctx, write{key: k, record: r}); err != nil {
		return FunctionView{}, err
	}
	defer s.builds.add(a.account, r.UID)
	d, _ := s.ix.functions.get(functionName{a.account, in.Name})
	if in.Publish {
		return s.publish(ctx, d, r.Latest.Description)
	}
	return d.show(&d.Latest, ""), nil
}

// newFunction makes the record of a new function and checks it, all but its
// package.
func (s *Service) newFunction(account tenant.AccountID, in CreateFunctionInput) (*functionRecord, error) {
	const op = "control.CreateFunction"
	if _, err := function.ParseName(string(in.Name)); err != nil {
		return nil, constraint(op, printable(string(in.Name)), "functionName", "Member must satisfy regular expression pattern: [a-zA-Z0-9-_]{1,64}")
	}
	switch {
	case in.PackageType != "" && in.PackageType != "Zip":
		return nil, invalid(op, "PackageType %s is not there; only Zip is, which takes a .wasm file too.", printable(in.PackageType))
	case in.Tenancy != "" && in.Tenancy != function.PerTenant:
		return nil, constraint(op, printable(string(in.Tenancy)), "tenancyConfig.tenantIsolationMode", "Member must satisfy enum value set: [PER_TENANT]")
	}
	if in.Limits.MemoryMB == 0 {
		in.Limits.MemoryMB = defaultMemoryMB
	}
	if in.Limits.Timeout == 0 {
		in.Limits.Timeout = defaultTimeout
	}
	if in.Handler == "" {
		in.Handler = defaultHandler
	}
	if err := checkTags(op, in.Tags); err != nil {
		return nil, err
	}
	owner, _ := s.ix.accounts.get(account)
	now := s.cfg.Now().UTC()
	r := &functionRecord{
		Function: function.Function{
			UID: tenant.NewUID(), Account: account, Name: in.Name, Tenancy: in.Tenancy,
			Latest: function.Version{
				Number: function.Latest, Description: in.Description, Runtime: in.Runtime, Handler: in.Handler, Role: in.Role,
				Limits: in.Limits, Environment: maps.Clone(in.Environment),
				State: function.Pending, StateReason: creating, StateReasonCode: creatingCode,
				LastModified: now, RevisionID: uuid.NewString(),
			},
			NextVer: 1, Tags: maps.Clone(in.Tags), CreatedAt: now,
		},
		AccountUID: owner.UID, AccountSlug: owner.Slug, Region: s.cfg.Region, Warmup: in.Tags[warmupTag],
	}
	return r, s.checkVersion(op, account, &r.Latest)
}

// storePackage checks an upload, keeps it and names it in the record.
func (s *Service) storePackage(ctx context.Context, r *functionRecord, upload []byte) error {
	const op = "control.storePackage"
	if _, err := s.open(r.Latest.Runtime, upload); err != nil {
		return err
	}
	if s.ix.codeSizeOf(r.Account)+int64(len(upload)) > MaxCodeSize {
		return fault.New(op, fault.Invalid, "Code storage limit exceeded: the packages of the account may have %d bytes together.", int64(MaxCodeSize)).
			WithCode("CodeStorageExceededException").WithRemedy("Delete versions that are not used.")
	}
	if _, err := s.cfg.Blobs.Put(ctx, r.AccountUID, secret.Code, upload); err != nil {
		return fault.Wrap(op, fault.Unavailable, err, "The package could not be stored.").WithCode("ServiceException").
			WithRemedy("Try again; if it goes on, tell the operator.")
	}
	sum := sha256.Sum256(upload)
	r.Latest.Package, r.Latest.PackageSize = function.Digest(hex.EncodeToString(sum[:])), int64(len(upload))
	return nil
}

// buildKey names everything that an artefact is made of, so that equal keys
// mean equal artefacts.
func buildKey(r *functionRecord) string {
	text, err := json.Marshal([]any{r.Latest.Package, r.Latest.Limits.MemoryMB, environment(r, &r.Latest), r.Warmup})
	if err != nil {
		return uuid.NewString() // never: these are strings and numbers; equal to no other key
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// GetFunction gives a version of a function; the action is GetFunction or
// GetFunctionConfiguration.
func (s *Service) GetFunction(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (FunctionView, error) {
	action := ActionGetFunction
	if g.Request().Action == ActionGetConfiguration {
		action = ActionGetConfiguration
	}
	d, err := s.read(ctx, g, action, name)
	if err != nil {
		return FunctionView{}, err
	}
	v, err := d.version(qualifier)
	if err != nil {
		return FunctionView{}, err
	}
	return d.show(v, qualifier), nil
}

// GetCode gives a version's package as it was uploaded; the action is
// GetFunction, whose answer is where Lambda names the code.
func (s *Service) GetCode(ctx context.Context, g iam.Grant, name function.Name, qualifier string) ([]byte, error) {
	d, err := s.read(ctx, g, ActionGetFunction, name)
	if err != nil {
		return nil, err
	}
	v, err := d.version(qualifier)
	if err != nil {
		return nil, err
	}
	return s.cfg.Blobs.Get(ctx, d.AccountUID, secret.Code, v.Package)
}

// DeleteFunction removes a function with all its versions, or only the
// version that the qualifier names.
//
// Errors: fault.Invalid for $LATEST or an alias as the qualifier;
// fault.Conflict for a version that an alias points to.
func (s *Service) DeleteFunction(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (err error) {
	const op = "control.DeleteFunction"
	a, d, err := s.change(ctx, g, ActionDeleteFunction, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	defer s.discard(d)
	if qualifier == "" {
		return s.deleteAll(ctx, d)
	}
	v, found := d.versions[qualifier]
	switch {
	case qualifier == function.Latest:
		return invalid(op, "$LATEST version cannot be deleted without deleting the function.")
	case !found && function.IsVersion(qualifier):
		return nil // as Lambda: it is not there any more
	case !found:
		return invalid(op, "Deletion of aliases is not currently supported.").(*fault.Error).WithRemedy("Use DeleteAlias.")
	}
	for _, alias := range d.aliases {
		if _, weighted := alias.T.Weights[qualifier]; weighted || alias.T.Version == qualifier {
			return fault.New(op, fault.Conflict, "The version %s cannot be deleted: the alias %s points to it.", qualifier, alias.T.Name).
				WithCode("ResourceConflictException").WithRemedy("Update or delete the alias first.")
		}
	}
	if what, is := d.runsIn(qualifier); is {
		return fault.New(op, fault.Conflict, "The version %s cannot be deleted: %s needs it.", qualifier, what).
			WithCode("ResourceConflictException").WithRemedy("End it, or begin another roll-out, first.")
	}
	if err := s.removePermissions(ctx, d, qualifier); err != nil {
		return err
	}
	if e, found := d.events[qualifier]; found {
		if err := s.remove(ctx, e.key, e.rev); err != nil {
			return err
		}
	}
	return s.remove(ctx, v.key, v.rev)
}

// deleteAll removes the function's record first: from then on it is gone, and
// what is left of it is swept up at the latest at the next start.
func (s *Service) deleteAll(ctx context.Context, d *deployed) error {
	if err := s.remove(ctx, d.key, d.rev); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, k := range d.partKeys() {
		_ = s.remove(ctx, k.key, k.rev) // swept up if it fails
	}
	return nil
}

// ListFunctions lists the account's functions by name.
func (s *Service) ListFunctions(ctx context.Context, g iam.Grant, in ListInput) (Page[FunctionView], error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionListFunctions, s.AccountResource(account)); err != nil {
		return Page[FunctionView]{}, err
	}
	var names []string
	for _, name := range s.ix.functionNames(account) {
		names = append(names, string(name))
		if d, found := s.ix.functions.get(functionName{account, name}); found && in.AllVersions {
			for _, n := range d.numbers() {
				names = append(names, versionName(string(name), number(n)))
			}
		}
	}
	return pageOf("control.ListFunctions", in.page(), names, func(name string) (FunctionView, error) {
		name, qualifier := splitVersion(name)
		d, found := s.ix.functions.get(functionName{account, function.Name(name)})
		if !found {
			return FunctionView{}, s.noFunction(account, function.Name(name))
		}
		v, err := d.version(qualifier)
		if err != nil {
			return FunctionView{}, err
		}
		if !in.AllVersions {
			qualifier = ""
		}
		return d.show(v, qualifier), nil
	})
}

// ListVersions lists $LATEST and the published versions in their order.
func (s *Service) ListVersions(ctx context.Context, g iam.Grant, name function.Name, in ListInput) (Page[FunctionView], error) {
	d, err := s.read(ctx, g, ActionListVersions, name)
	if err != nil {
		return Page[FunctionView]{}, err
	}
	names := []string{versionName("", 0)}
	for _, n := range d.numbers() {
		names = append(names, versionName("", number(n)))
	}
	return pageOf("control.ListVersions", in.page(), names, func(name string) (FunctionView, error) {
		_, qualifier := splitVersion(name)
		v, err := d.version(qualifier)
		if err != nil {
			return FunctionView{}, err
		}
		return d.show(v, qualifier), nil
	})
}

// AccountSettings gives the account's limits and use.
func (s *Service) AccountSettings(ctx context.Context, g iam.Grant) (AccountSettings, error) {
	account := g.Request().Owner.Account
	if _, err := s.check(ctx, g, ActionGetAccountSettings, s.AccountResource(account)); err != nil {
		return AccountSettings{}, err
	}
	plan := s.PlanOf(account)
	return AccountSettings{
		Concurrency:           plan.Concurrency,
		UnreservedConcurrency: max(0, plan.Concurrency-s.ix.reservedOf(account)),
		TotalCodeSizeLimit:    MaxCodeSize,
		CodeSizeZippedLimit:   MaxZipped,
		CodeSizeUnzippedLimit: MaxUnzipped,
		FunctionCount:         int64(s.ix.functionCount(account)),
		TotalCodeSize:         s.ix.codeSizeOf(account),
	}, nil
}

// PublishVersion makes a version of what $LATEST is now. If that is what was
// published last, it gives that version.
//
// Errors: fault.Precondition for another RevisionID; fault.Conflict while
// $LATEST is not ready.
func (s *Service) PublishVersion(ctx context.Context, g iam.Grant, in PublishInput) (out FunctionView, err error) {
	const op = "control.PublishVersion"
	a, d, err := s.change(ctx, g, ActionPublishVersion, in.Name)
	if err != nil {
		return FunctionView{}, err
	}
	defer a.end(&err)
	if err := d.checkRevision(op, in.RevisionID); err != nil {
		return FunctionView{}, err
	}
	if in.CodeSha256 != "" && in.CodeSha256 != string(d.Latest.Package) {
		return FunctionView{}, invalid(op, "CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.",
			printable(in.CodeSha256), d.Latest.Package)
	}
	if err := d.settled(op); err != nil {
		return FunctionView{}, err
	}
	if d.Latest.UpdateStatus == function.UpdateFailed || d.Latest.State != function.Active {
		return FunctionView{}, fault.New(op, fault.Conflict, "The operation cannot be performed at this time. The last change of %s failed: %s", d.arn(""), d.Latest.UpdateReason+d.Latest.StateReason).
			WithCode("ResourceConflictException").WithRemedy("Update the function first.")
	}
	description := d.Latest.Description
	if in.Description != nil {
		description = *in.Description
	}
	return s.publish(ctx, d, description)
}

// publish takes the next number in the function's record and then writes the
// version, which is built together with $LATEST if that is still to be built.
func (s *Service) publish(ctx context.Context, d *deployed, description string) (FunctionView, error) {
	const op = "control.PublishVersion"
	if last, found := d.versions[strconv.Itoa(d.NextVer-1)]; found && last.T.Content == d.content() {
		return d.show(&last.T.Version, last.T.Number), nil
	}
	if len(d.versions) >= MaxVersions {
		return FunctionView{}, overLimit(op, "versions of the function", MaxVersions)
	}
	v := versionRecord{Version: d.Latest, Function: d.UID, Build: d.Build, Warmup: d.Warmup, Content: d.content()}
	if v.Artifact == "" {
		v.State, v.StateReason, v.StateReasonCode = function.Pending, creating, creatingCode
		v.UpdateStatus, v.UpdateReason, v.UpdateReasonCode = "", "", ""
	}
	v.Number, v.Description, v.RevisionID = strconv.Itoa(d.NextVer), description, uuid.NewString()
	if err := s.checkVersion(op, d.Account, &v.Version); err != nil {
		return FunctionView{}, err
	}
	k, err := versionKey(&d.functionRecord, d.NextVer)
	if err != nil {
		return FunctionView{}, err
	}
	r := d.functionRecord
	r.NextVer++
	if err := s.save(ctx, d.key, d.rev, r); err != nil {
		return FunctionView{}, err
	}
	if err := s.save(ctx, k, 0, v); err != nil {
		return FunctionView{}, err
	}
	d, _ = s.ix.functions.get(functionName{d.Account, d.Name})
	return d.show(&v.Version, v.Number), nil
}

// content names everything of $LATEST that a version takes over.
func (d *deployed) content() string {
	return d.Build + "/" + string(d.Latest.Runtime) + "/" + d.Latest.Handler + "/" + d.Latest.Role + "/" + string(d.Latest.RoleUID) + "/" +
		d.Latest.Limits.Timeout.String() + "/" + schemaPart(&d.Latest) + d.Latest.Description
}

func (d *deployed) checkRevision(op, given string) error {
	if given != "" && given != d.Latest.RevisionID {
		return fault.New(op, fault.Precondition, revisionFailed).WithCode("PreconditionFailedException")
	}
	return nil
}

// settled refuses while $LATEST is being made.
func (d *deployed) settled(op string) error {
	switch {
	case d.Latest.UpdateStatus == function.UpdateInProgress:
		return fault.New(op, fault.Conflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", d.arn("")).
			WithCode("ResourceConflictException")
	case d.Latest.State == function.Pending:
		return notReady(function.Pending)
	}
	return nil
}

func overLimit(op, what string, limit int) error {
	return fault.New(op, fault.Throttled, "The limit of %d %s is reached.", limit, what).
		WithCode("TooManyRequestsException").WithRemedy("Delete what is not used.")
}

// partKeys lists the records that hang on the function.
func (d *deployed) partKeys() []held[struct{}] {
	var keys []held[struct{}]
	for _, v := range d.versions {
		keys = append(keys, held[struct{}]{key: v.key, rev: v.rev})
	}
	for _, a := range d.aliases {
		keys = append(keys, held[struct{}]{key: a.key, rev: a.rev})
	}
	for _, e := range d.events {
		keys = append(keys, held[struct{}]{key: e.key, rev: e.rev})
	}
	for _, u := range d.urls {
		keys = append(keys, held[struct{}]{key: u.key, rev: u.rev})
	}
	for _, p := range d.permissions {
		keys = append(keys, held[struct{}]{key: p.key, rev: p.rev})
	}
	slices.SortFunc(keys, func(a, b held[struct{}]) int { return int(a.rev) - int(b.rev) })
	return keys
}
