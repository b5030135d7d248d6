// Package observe makes the node visible to its operator. Every metric and
// log line carries the tenant, and the number of series is bounded however
// many tenants there are. Nothing is ever billed from metrics.
package observe

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/tenant"
)

// TopTenants is how many tenants have series of their own; the calls of all
// others are summed under tenant="other".
const TopTenants = 50

// results is how many values call.Result has, for the counters' arrays.
const results = int(call.PlatformError) + 1

// tenantCounts are one tenant's counters.
type tenantCounts struct {
	slug     tenant.Slug
	calls    [results]atomic.Uint64
	billedMS atomic.Uint64
	fuel     atomic.Uint64
	cold     atomic.Uint64
}

func (t *tenantCounts) total() (n uint64) {
	for i := range t.calls {
		n += t.calls[i].Load()
	}
	return n
}

// Metrics counts calls. It implements prometheus.Collector.
type Metrics struct {
	tenants  sync.Map // tenant.AccountID -> *tenantCounts
	duration prometheus.Histogram
	gauges   []Gauge
}

// Gauge is a number of the node that is read when somebody asks.
type Gauge struct {
	Name, Help string
	Read       func() float64
}

// NewMetrics makes the counters, with gauges beside them.
func NewMetrics(gauges ...Gauge) *Metrics {
	return &Metrics{
		gauges: gauges,
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "carrel_call_duration_seconds", Help: "Run time of calls, all tenants.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 300, 900},
		}),
	}
}

// Count implements invoke.Counter.
func (m *Metrics) Count(c *call.Call, o *call.Outcome) {
	v, found := m.tenants.Load(c.Owner.Account)
	if !found {
		v, _ = m.tenants.LoadOrStore(c.Owner.Account, &tenantCounts{slug: c.Target.AccountSlug})
	}
	t := v.(*tenantCounts)
	if o.Result.Valid() {
		t.calls[o.Result].Add(1)
	}
	switch o.Result {
	case call.Refused, call.Throttled, call.PlatformError:
		return
	}
	t.billedMS.Add(uint64(o.Usage.BilledMS()))
	t.fuel.Add(o.Usage.Fuel)
	if o.Usage.Cold {
		t.cold.Add(1)
	}
	m.duration.Observe(o.Usage.Duration.Seconds())
}

var (
	callsDesc  = prometheus.NewDesc("carrel_calls_total", "Calls by tenant and result.", []string{"tenant", "result"}, nil)
	billedDesc = prometheus.NewDesc("carrel_billed_milliseconds_total", "Billed run time by tenant.", []string{"tenant"}, nil)
	fuelDesc   = prometheus.NewDesc("carrel_fuel_total", "Executed fuel by tenant.", []string{"tenant"}, nil)
	coldDesc   = prometheus.NewDesc("carrel_cold_starts_total", "Cold starts by tenant.", []string{"tenant"}, nil)
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{callsDesc, billedDesc, fuelDesc, coldDesc} {
		ch <- d
	}
	m.duration.Describe(ch)
	for _, g := range m.gauges {
		ch <- prometheus.NewDesc(g.Name, g.Help, nil, nil)
	}
}

// Collect implements prometheus.Collector: the tenants with the most calls
// by name, all others together.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	type row struct {
		name string
		of   *tenantCounts
		all  uint64
	}
	var rows []row
	m.tenants.Range(func(_, v any) bool {
		t := v.(*tenantCounts)
		rows = append(rows, row{string(t.slug), t, t.total()})
		return true
	})
	slices.SortFunc(rows, func(a, b row) int {
		if c := cmp.Compare(b.all, a.all); c != 0 {
			return c
		}
		return cmp.Compare(a.name, b.name)
	})
	rest := &tenantCounts{}
	for i, r := range rows {
		if i < TopTenants {
			emit(ch, r.name, r.of)
			continue
		}
		for k := range r.of.calls {
			rest.calls[k].Add(r.of.calls[k].Load())
		}
		rest.billedMS.Add(r.of.billedMS.Load())
		rest.fuel.Add(r.of.fuel.Load())
		rest.cold.Add(r.of.cold.Load())
	}
	if len(rows) > TopTenants {
		emit(ch, "other", rest)
	}
	m.duration.Collect(ch)
	for _, g := range m.gauges {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(g.Name, g.Help, nil, nil), prometheus.GaugeValue, g.Read())
	}
}

func emit(ch chan<- prometheus.Metric, name string, t *tenantCounts) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for i := range t.calls {
		if n := t.calls[i].Load(); n > 0 {
			counter(callsDesc, n, name, call.Result(i).String())
		}
	}
	counter(billedDesc, t.billedMS.Load(), name)
	counter(fuelDesc, t.fuel.Load(), name)
	counter(coldDesc, t.cold.Load(), name)
}
