package observe

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

func TestSeriesStayBoundedHoweverManyTenants(t *testing.T) {
	m := NewMetrics(Gauge{Name: "carrel_workers", Help: "Worker processes.", Read: func() float64 { return 3 }})
	const tenants = 10_000
	for i := range tenants {
		account := tenant.AccountID(fmt.Sprintf("%012d", i))
		target := &function.Target{AccountSlug: tenant.Slug(fmt.Sprintf("tenant-%d", i))}
		o := &call.Outcome{Usage: call.Usage{Duration: time.Millisecond, Fuel: 2}}
		for range 1 + i%3 {
			m.Count(&call.Call{Owner: tenant.Identity{Account: account}, Target: target}, o)
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series, calls, other := 0, 0.0, false
	for _, f := range families {
		series += len(f.GetMetric())
		if f.GetName() != "carrel_calls_total" {
			continue
		}
		for _, v := range f.GetMetric() {
			calls += v.GetCounter().GetValue()
			other = other || v.GetLabel()[1].GetValue() == "other"
		}
	}
	if limit := (TopTenants + 1) * 5; series > limit {
		t.Errorf("%d series for %d tenants, want at most %d", series, tenants, limit)
	}
	if want := 19999.0; calls != want || !other {
		t.Errorf("the series sum to %v calls (other: %v), want %v with the rest under other", calls, other, want)
	}
}
