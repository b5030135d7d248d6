package control

import (
	"fmt"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/control/directory"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/store"
	"github.com/carrel-dev/carrel/tenant"
)

// fill puts n tenants with their first user and role and a built function each into the stores, as a node
// before would have left them.
func (w *world) fill(n int) {
	w.t.Helper()
	save := func(kv store.KV, k store.Key, err error, record any) {
		if err != nil {
			w.t.Fatal(err)
		}
		value, err := encode(record)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := kv.Create(ctx, k, value); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := range n {
		t := tenant.Tenant{Slug: tenant.Slug(fmt.Sprintf("tenant-%d", i)), Account: tenant.AccountID(fmt.Sprintf("1%011d", i)), UID: tenant.NewUID(), Plan: DefaultPlan, Status: tenant.Active}
		k, err := newKey(tenantFamily, fmt.Sprintf("hidden%d", i))
		save(w.stores.Tenants, k, err, tenantRecord{Tenant: t})
		admin := directory.User{
			Account: t.Account, Name: AdminUser, Path: "/", ARN: userARN(t.Account, AdminUser), UID: tenant.NewUID(),
			Attached: directory.Attached{Managed: []string{directory.AdministratorAccess}},
		}
		k, err = newKey(userFamily, string(t.UID), string(admin.UID))
		save(w.stores.Identities, k, err, admin)
		k, err = newKey(roleFamily, string(t.UID), "hidden")
		save(w.stores.Identities, k, err, directory.Role{
			Account: t.Account, Name: FunctionRole, Path: "/", ARN: roleARN(t.Account, FunctionRole), UID: tenant.NewUID(), Trust: trustOf(LambdaService),
		})
		f := functionRecord{
			Function: function.Function{
				UID: tenant.NewUID(), Account: t.Account, Name: "f", NextVer: 2,
				Latest: function.Version{Number: function.Latest, State: function.Active, Artifact: "artefact", Package: "package", Limits: function.Limits{MemoryMB: 128, Timeout: time.Second}},
			},
			AccountUID: t.UID, AccountSlug: t.Slug, Region: region,
		}
		k, err = newKey(functionFamily, string(t.UID), "hidden")
		save(w.stores.Functions, k, err, f)
		v := versionRecord{Version: f.Latest, Function: f.UID}
		v.Number = "1"
		k, err = versionKey(&f, 1)
		save(w.stores.Functions, k, err, v)
		k, err = newKey(aliasFamily, string(t.UID), string(f.UID), "hidden")
		save(w.stores.Functions, k, err, aliasRecord{Alias: function.Alias{Name: "live", Version: "1"}, Function: f.UID})
	}
}

// TestManyTenants is not parallel: it counts allocations.
func TestManyTenants(t *testing.T) {
	w := newWorld(t)
	w.plain = true
	w.fill(10_000)
	begun := time.Now()
	s := w.open()
	took := time.Since(begun)
	t.Logf("10,000 tenants with a function, a version and an alias each: open after %s", took)
	if took > 10*time.Second {
		t.Errorf("it took %s to open", took)
	}
	for _, q := range []string{"", function.Latest, "1", "live"} {
		roll := uint64(0)
		if n := testing.AllocsPerRun(1000, func() {
			roll += 1 << 60
			if target, err := s.Resolve("100000007777", "f", q, roll); err != nil || target.AccountSlug != "tenant-7777" {
				t.Errorf("%+v %v", target, err)
			}
		}); n != 0 {
			t.Errorf("resolving %q allocates %v times", q, n)
		}
	}
	admin := s.FirstAdmin()
	if n := testing.AllocsPerRun(1000, func() {
		if k, found := s.AccessKey(admin.AccessKeyID); !found || k.Account != s.Management() || !s.KeyActive(k.ID) || s.PlanOf(k.Account).Concurrency == 0 {
			t.Error("the admin's key is not found")
		}
	}); n != 0 {
		t.Errorf("finding a key allocates %v times", n)
	}
	s.ix.mu.Lock()
	s.ix.installEndTenant(nil, &tenant.EndTenant{ID: "Customer-1", UID: tenant.NewUID(), Account: admin.AccountID})
	s.ix.mu.Unlock()
	if n := testing.AllocsPerRun(1000, func() {
		if _, found, err := s.FindEndTenant(admin.AccountID, "Customer-1"); !found || err != nil {
			t.Error(found, err)
		}
	}); n != 0 {
		t.Errorf("finding an end tenant allocates %v times", n)
	}
}

// BenchmarkCreateTenant makes tenants where there are 10,000, without the roles
// for people and with them.
func BenchmarkCreateTenant(b *testing.B) {
	for name, roles := range map[string]bool{"programs": false, "people": true} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b)
			w.plain = true
			w.fill(10_000)
			operator := w.operator(w.open())
			operator.tenant("first")
			n := 0
			for b.Loop() {
				n++
				_, err := operator.createTenant(CreateTenantInput{Slug: fmt.Sprintf("made-%d", n), DefaultRoles: roles})
				operator.must(err)
			}
		})
	}
}

// BenchmarkPutLayout changes what holds for all of 10,000 tenants.
func BenchmarkPutLayout(b *testing.B) {
	w := newWorld(b)
	w.plain = true
	w.fill(10_000)
	s := w.open()
	operator := w.operator(s)
	n := 0
	for b.Loop() {
		n++
		in := PutLayoutInput{"l", fmt.Sprintf("arn:aws:s3:::b%d/{tenant}/*", n)}
		if _, err := s.PutLayout(ctx, operator.on(ActionPutLayout, s.OwnResource(operator.account, "layout/l")), in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	w := newWorld(b)
	w.plain = true
	w.fill(10_000)
	s := w.open()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Resolve("100000007777", "f", "live", 1); err != nil {
			b.Fatal(err)
		}
	}
}
