package client

import (
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// TenantPath gives the path of a tenant, and refuses what can be no name of
// one before it becomes part of a path.
func TenantPath(name string) (string, error) {
	slug, err := tenant.ParseSlug(name)
	if err != nil {
		return "", err
	}
	return "/v1/tenants/" + string(slug), nil
}

// FunctionPath gives the path of a function; errors as of TenantPath.
func FunctionPath(name string) (string, error) {
	fn, err := function.ParseName(name)
	if err != nil {
		return "", err
	}
	return "/v1/functions/" + string(fn), nil
}

// LogsPath gives the path of a function's log; errors as of TenantPath.
func LogsPath(name string) (string, error) {
	if of, id, err := function.ParseInstanceName(name); err == nil {
		return "/v1/functions/" + function.InstanceName(of, id) + "/logs", nil
	}
	fn, err := function.ParseName(name)
	if err != nil {
		return "", err
	}
	return "/v1/functions/" + string(fn) + "/logs", nil
}
