// Package controltest opens a control.Service for tests of what stands on it.
package controltest

import (
	"testing"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret/secrettest"
	"github.com/carrel-dev/carrel/store/memory"
	"github.com/carrel-dev/carrel/tenant"
)

// Open opens a service that is closed when the test ends. What a test has no
// part in may be left out of cfg: Stores are in memory, Keys in a folder of
// the test, and EndpointURL is of no listener.
func Open(t testing.TB, cfg control.Config) *control.Service {
	t.Helper()
	if cfg.Keys == nil {
		cfg.Keys = secrettest.Keeper(t)
	}
	if cfg.Stores == (control.Stores{}) {
		cfg.Stores = control.Stores{Tenants: memory.New(), Identities: memory.New(), Functions: memory.New()}
	}
	if cfg.EndpointURL == nil {
		cfg.EndpointURL = func() string { return "http://127.0.0.1:9600" }
	}
	s, err := control.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Tenant makes a tenant as the operator.
func Tenant(t testing.TB, s *control.Service, slug tenant.Slug) control.Credentials {
	t.Helper()
	operator, _ := s.Principal(s.FirstAdmin().AccessKeyID)
	g, err := s.Authorise(t.Context(), iam.Request{Principal: operator, Action: control.ActionCreateTenant,
		Resource: s.TenantResource(slug), Owner: tenant.Identity{Account: s.Management()}}, "setup")
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.CreateTenant(t.Context(), g, control.CreateTenantInput{Slug: string(slug)})
	if err != nil {
		t.Fatal(err)
	}
	return made
}
