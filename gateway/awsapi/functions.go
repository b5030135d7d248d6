package awsapi

import (
	"net/http"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// ofOtherKinds are members of CreateFunction and UpdateFunctionConfiguration
// whose feature is not built.
var ofOtherKinds = []string{
	"CapacityProviderConfig", "DurableConfig", "FileSystemConfigs", "ImageConfig", "KMSKeyArn", "Layers", "PublishTo",
}

func createFunction(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	in, err := rq.createInput(o)
	if err != nil {
		return reply{}, err
	}
	view, err := rq.h.Control.CreateFunction(rq.r.Context(), rq.grant, in)
	return reply{http.StatusCreated, configuration(view)}, err
}

// createInput reads the body, and gets the grant for the function in it
// before it goes into the details.
func (rq *request) createInput(o object) (control.CreateFunctionInput, error) {
	var v violations
	in := control.CreateFunctionInput{
		Description: value(o.text("Description")),
		Handler:     value(o.text("Handler")),
		Runtime:     function.Runtime(value(o.text("Runtime"))),
		Environment: o.child("Environment").texts("Variables"),
		PackageType: value(o.text("PackageType")),
		Tenancy:     function.TenantIsolationMode(value(o.child("TenancyConfig").text("TenantIsolationMode"))),
		Tags:        o.texts("Tags"),
		Publish:     o.flag("Publish"),
		Package:     o.child("Code").blob("ZipFile"),
	}
	name := v.required(o.text("FunctionName"), "functionName")
	in.Role = v.required(o.text("Role"), "role")
	if _, found := o.get("Code"); !found {
		v.required(nil, "code")
	}
	memory, timeout := o.integer("MemorySize"), o.integer("Timeout")
	if memory != nil {
		in.Limits.MemoryMB = *memory
	}
	if timeout != nil {
		in.Limits.Timeout = time.Duration(*timeout) * time.Second
	}
	v.configuration(configurationShape{&in.Description, &in.Handler, &in.Role, memory, timeout})
	if *o.err != nil {
		return in, *o.err
	}
	if name == "" || len(v.list) > 0 {
		return in, orInvalidName(v.err())
	}
	ref, err := functionReference(name)
	if err != nil {
		return in, err
	}
	if ref.Qualifier != "" {
		v.pattern(name, "functionName", nameForm)
		return in, v.err()
	}
	rq.keys = requestTags(in.Tags)
	if err := rq.authoriseFunction(ref); err != nil {
		return in, err
	}
	in.Name = ref.Name
	if err := checkCreate(o, in); err != nil {
		return in, err
	}
	in.PassRole, err = rq.passRole(in.Role)
	return in, err
}

// passRole gets the grant for passing a role to the function; the one that the
// function has, if none is named. For what is no role of the account there is
// no grant: control says what is wrong before it looks at it.
func (rq *request) passRole(role string) (iam.Grant, error) {
	account := rq.grant.Request().Owner.Account
	if role == "" {
		role, _ = rq.h.Control.RoleOf(account, rq.name)
	}
	if owner, err := function.ParseRoleARN(role); err != nil || owner != account {
		return iam.Grant{}, nil
	}
	return rq.h.Control.Authorise(rq.r.Context(), iam.Request{
		Principal: rq.principal, Action: control.ActionPassRole, Resource: role,
		Owner: tenant.Identity{Account: account}, Keys: []iam.Key{control.PassedToService()},
	}, rq.id)
}

// orInvalidName is for the empty name, which is there and says nothing.
func orInvalidName(err error) error {
	if err != nil {
		return err
	}
	var v violations
	v.pattern("", "functionName", nameForm)
	return v.err()
}

// checkCreate refuses what has the right shape and is not to be had.
func checkCreate(o object, in control.CreateFunctionInput) error {
	const op = "CreateFunction"
	if err := unsupported(op, o, append(ofOtherKinds, "CodeSigningConfigArn")...); err != nil {
		return err
	}
	if err := checkBlocks(op, in.Name, o); err != nil {
		return err
	}
	if err := checkCode(op, o.child("Code"), in.Package); err != nil {
		return err
	}
	if err := checkArchitectures(o); err != nil {
		return err
	}
	return *o.err
}

// checkBlocks refuses nested configuration that says more than Carrel does.
func checkBlocks(op string, name function.Name, o object) error {
	for _, block := range []struct{ name, member, does string }{
		{"TracingConfig", "Mode", tracingMode},
		{"SnapStart", "ApplyOn", snapStartOff},
		{"LoggingConfig", "LogFormat", logFormat},
	} {
		if err := onlyValue(op, o.child(block.name), block.member, block.does); err != nil {
			return err
		}
	}
	logging := o.child("LoggingConfig")
	if err := onlyValue(op, logging, "LogGroup", logGroupPrefix+string(name)); err != nil {
		return err
	}
	if err := unsupported(op, logging, "ApplicationLogLevel", "SystemLogLevel"); err != nil {
		return err
	}
	if err := unsupported(op, o.child("DeadLetterConfig"), "TargetArn"); err != nil {
		return err
	}
	if err := unsupported(op, o.child("VpcConfig"), "SubnetIds", "SecurityGroupIds"); err != nil {
		return err
	}
	if size := o.child("EphemeralStorage").integer("Size"); size != nil && *size != ephemeralMB {
		return fault.New("awsapi."+op, fault.Unsupported, "EphemeralStorage of %d MB is not available in Carrel.", *size).
			WithRemedy("Leave it out, or give %d; /tmp counts against MemorySize.", ephemeralMB)
	}
	return *o.err
}

// checkCode demands that the code comes in the request.
func checkCode(op string, code object, content []byte) error {
	if err := unsupported(op, code, "ImageUri", "S3Bucket", "S3Key", "S3ObjectVersion", "SourceKMSKeyArn"); err != nil {
		return err
	}
	if *code.err != nil {
		return *code.err
	}
	if len(content) == 0 {
		return fault.New("awsapi."+op, fault.Invalid, "Please provide a source for function code.").
			WithRemedy("Give a zip file with bootstrap.wasm, or a WebAssembly module, as ZipFile.")
	}
	return nil
}

func checkArchitectures(o object) error {
	list := o.list("Architectures")
	if len(list) == 0 || len(list) == 1 && list[0] == architecture {
		return nil
	}
	return fault.New("awsapi", fault.Unsupported, "Architectures other than [%s] are not available in Carrel.", architecture).
		WithRemedy("WebAssembly modules run on any; leave it out.")
}

// configurationShape is what CreateFunction and UpdateFunctionConfiguration
// have in common; nil leaves a field unchecked.
type configurationShape struct {
	description, handler, role *string
	memory, timeout            *int
}

func (v *violations) configuration(c configurationShape) {
	if c.description != nil {
		v.length(*c.description, "description", mostDescription)
	}
	if c.handler != nil && *c.handler != "" {
		v.length(*c.handler, "handler", mostHandler)
		v.pattern(*c.handler, "handler", handlerForm)
	}
	if c.role != nil && *c.role != "" {
		v.pattern(*c.role, "role", roleForm)
	}
	v.within(c.memory, "memorySize", leastMemoryMB, mostMemoryMB)
	v.within(c.timeout, "timeout", 1, mostTimeoutSeconds)
}

// value gives a text or the empty one.
func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func getFunction(rq *request) (reply, error) {
	view, err := rq.h.Control.GetFunction(rq.r.Context(), rq.grant, rq.name, rq.qualifier)
	if err != nil {
		return reply{}, err
	}
	out := functionReply{Configuration: configuration(view), Tags: view.Tags}
	if view.Reserved != nil {
		out.Concurrency = &concurrency{view.Reserved}
	}
	return reply{http.StatusOK, out}, nil
}

func getFunctionConfiguration(rq *request) (reply, error) {
	view, err := rq.h.Control.GetFunction(rq.r.Context(), rq.grant, rq.name, rq.qualifier)
	return reply{http.StatusOK, configuration(view)}, err
}

func updateFunctionCode(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	in := control.UpdateCodeInput{Name: rq.name, Package: o.blob("ZipFile"), RevisionID: value(o.text("RevisionId")),
		Publish: o.flag("Publish"), DryRun: o.flag("DryRun")}
	if err := checkCode(rq.operation, o, in.Package); err != nil {
		return reply{}, err
	}
	if err := unsupported(rq.operation, o, "PublishTo"); err != nil {
		return reply{}, err
	}
	if err := checkArchitectures(o); err != nil {
		return reply{}, err
	}
	if *o.err != nil {
		return reply{}, *o.err
	}
	if in.PassRole, err = rq.passRole(""); err != nil {
		return reply{}, err
	}
	view, err := rq.h.Control.UpdateFunctionCode(rq.r.Context(), rq.grant, in)
	return reply{http.StatusOK, configuration(view)}, err
}

func updateFunctionConfiguration(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	in := control.UpdateConfigurationInput{Name: rq.name,
		Description: o.text("Description"), Handler: o.text("Handler"), Role: o.text("Role"),
		Runtime:  (*function.Runtime)(o.text("Runtime")),
		MemoryMB: o.integer("MemorySize"), TimeoutSec: o.integer("Timeout"), RevisionID: value(o.text("RevisionId"))}
	if env := o.child("Environment"); env.members != nil {
		in.Environment = env.texts("Variables")
		if in.Environment == nil {
			in.Environment = map[string]string{}
		}
	}
	var v violations
	v.configuration(configurationShape{in.Description, in.Handler, in.Role, in.MemoryMB, in.TimeoutSec})
	if *o.err != nil {
		return reply{}, *o.err
	}
	if err := v.err(); err != nil {
		return reply{}, err
	}
	if err := unsupported(rq.operation, o, ofOtherKinds...); err != nil {
		return reply{}, err
	}
	if err := checkBlocks(rq.operation, rq.name, o); err != nil {
		return reply{}, err
	}
	if in.PassRole, err = rq.passRole(value(in.Role)); err != nil {
		return reply{}, err
	}
	view, err := rq.h.Control.UpdateFunctionConfiguration(rq.r.Context(), rq.grant, in)
	return reply{http.StatusOK, configuration(view)}, err
}

func deleteFunction(rq *request) (reply, error) {
	if rq.qualifier == function.Latest {
		return reply{}, fault.New("awsapi.DeleteFunction", fault.Invalid, "$LATEST version cannot be deleted without deleting the function.")
	}
	return reply{status: http.StatusNoContent}, rq.h.Control.DeleteFunction(rq.r.Context(), rq.grant, rq.name, rq.qualifier)
}

func listFunctions(rq *request) (reply, error) {
	in, err := rq.page()
	if err != nil {
		return reply{}, err
	}
	which, err := rq.query("FunctionVersion")
	if err != nil {
		return reply{}, err
	}
	if which != "" {
		var v violations
		if v.oneOf(which, "functionVersion", "ALL"); v.err() != nil {
			return reply{}, v.err()
		}
		in.AllVersions = true
	}
	page, err := rq.h.Control.ListFunctions(rq.r.Context(), rq.grant, in)
	return reply{http.StatusOK, functionPage{configurations(page.Items), page.NextMarker}}, err
}

func publishVersion(rq *request) (reply, error) {
	o, err := parseBody(rq.body)
	if err != nil {
		return reply{}, err
	}
	in := control.PublishInput{Name: rq.name, CodeSha256: digestHex(value(o.text("CodeSha256"))), Description: o.text("Description"),
		RevisionID: value(o.text("RevisionId"))}
	var v violations
	v.length(value(in.Description), "description", mostDescription)
	if *o.err != nil {
		return reply{}, *o.err
	}
	if err := v.err(); err != nil {
		return reply{}, err
	}
	if err := unsupported(rq.operation, o, "PublishTo"); err != nil {
		return reply{}, err
	}
	view, err := rq.h.Control.PublishVersion(rq.r.Context(), rq.grant, in)
	return reply{http.StatusCreated, configuration(view)}, err
}

func listVersions(rq *request) (reply, error) {
	in, err := rq.page()
	if err != nil {
		return reply{}, err
	}
	page, err := rq.h.Control.ListVersions(rq.r.Context(), rq.grant, rq.name, in)
	return reply{http.StatusOK, versionPage{page.NextMarker, configurations(page.Items)}}, err
}
