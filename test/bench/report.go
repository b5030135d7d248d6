//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run found.
type Report struct {
	Begun   time.Time `json:"begun"`
	Seconds float64   `json:"seconds"`
	Quick   bool      `json:"quick"`
	Machine Machine   `json:"machine"`
	Lines   []*Line   `json:"lines"`
}

// Machine is what it ran on.
type Machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Commit string `json:"commit"`
	Root   bool   `json:"root"`
	Load   string `json:"load"`
}

// String gives it as one line.
func (m Machine) String() string {
	who := "an ordinary user"
	if m.Root {
		who = "root"
	}
	return fmt.Sprintf("%d x %s, Linux %s, %s, commit %s, started by %s, load before %s", m.CPUs, m.CPU, m.Kernel, m.Go, m.Commit, who, m.Load)
}

// Line is one thing measured.
type Line struct {
	Part string `json:"part"`
	// Name says what it is, within its part.
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Settings are the variables the measured processes ran with.
	Settings string `json:"settings,omitempty"`
	// Rounds are the single measurements, Median what is shown of them.
	Rounds []float64 `json:"rounds,omitempty"`
	Median float64   `json:"median"`
	// Micros holds further numbers in microseconds, by name, each the median
	// of the rounds but for max, the greatest of all. "CPU a call" is the
	// processor time of the server with all its processes.
	Micros map[string]float64 `json:"micros,omitempty"`
	Errors int                `json:"errors,omitempty"`
	Ratios []Ratio            `json:"ratios,omitempty"`
	// Goal is for the median itself.
	Goal *Goal  `json:"goal,omitempty"`
	Note string `json:"note,omitempty"`
}

// Ratio is a line's median over another's.
type Ratio struct {
	To    string  `json:"to"`
	Value float64 `json:"value"`
	Goal  *Goal   `json:"goal,omitempty"`
}

// Goal is what a number should be.
type Goal struct {
	AtLeast bool    `json:"atLeast"`
	Bound   float64 `json:"bound"`
	Met     bool    `json:"met"`
	// Margin is how much better than the bound the number is, as a part of
	// the bound: 0.1 is a tenth better, -0.1 a tenth short of it.
	Margin float64 `json:"margin"`
}

func atLeast(bound float64) *Goal { return &Goal{AtLeast: true, Bound: bound} }
func atMost(bound float64) *Goal  { return &Goal{Bound: bound} }

func (g *Goal) check(v float64) {
	g.Margin = v/g.Bound - 1
	if !g.AtLeast {
		g.Margin = 1 - v/g.Bound
	}
	g.Met = g.Margin >= 0
}

// String says whether the goal is met, or by how much not.
func (g *Goal) String() string {
	sign := "<="
	if g.AtLeast {
		sign = ">="
	}
	if g.Met {
		return fmt.Sprintf("goal %s %.4g: met", sign, g.Bound)
	}
	return fmt.Sprintf("goal %s %.4g: MISSED by %.0f %%", sign, g.Bound, -100*g.Margin)
}

// median of no values is 0.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v) / 2; len(v)%2 == 0 {
		return (v[n-1] + v[n]) / 2
	}
	return v[len(v)/2]
}

// percentile of sorted values, the nearest rank; 0 of none.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(p/100*float64(len(sorted)))) - 1
	return sorted[max(0, rank)]
}

// against adds the ratio to another line.
func (l *Line) against(to string, other *Line, g *Goal) {
	if l == nil || other == nil || other.Median == 0 {
		return
	}
	r := Ratio{To: to, Value: l.Median / other.Median, Goal: g}
	if g != nil {
		g.check(r.Value)
	}
	l.Ratios = append(l.Ratios, r)
}

// want sets a goal for the line's median.
func (l *Line) want(g *Goal) {
	g.check(l.Median)
	l.Goal = g
}

// add keeps lines and prints them as one table.
func (b *bench) add(part string, lines []*Line) {
	w := tabwriter.NewWriter(b.out, 0, 8, 2, ' ', 0)
	for _, l := range lines {
		l.Part = part
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", l.Name, l.Settings, l.value(), l.micros(), l.remarks())
	}
	w.Flush()
	b.report.Lines = append(b.report.Lines, lines...)
}

func (l *Line) value() string {
	switch {
	case l.Unit == "":
		return ""
	case l.Median >= 1000:
		return fmt.Sprintf("%.0f %s", l.Median, l.Unit)
	}
	return fmt.Sprintf("%.3g %s", l.Median, l.Unit)
}

// microOrder is the order in which further numbers are shown.
var microOrder = []string{"p50", "p95", "p99", "max", "CPU a call"}

func (l *Line) micros() string {
	var text []string
	for _, name := range microOrder {
		if v, found := l.Micros[name]; found {
			text = append(text, name+" "+time.Duration(v*1000).Round(roundTo(v)).String())
		}
	}
	return strings.Join(text, "  ")
}

func roundTo(micros float64) time.Duration {
	if micros < 1000 {
		return 100 * time.Nanosecond
	}
	return 10 * time.Microsecond
}

func (l *Line) remarks() string {
	var text []string
	for _, r := range l.Ratios {
		t := fmt.Sprintf("%.3g x %s", r.Value, r.To)
		if r.Goal != nil {
			t += " (" + r.Goal.String() + ")"
		}
		text = append(text, t)
	}
	if l.Goal != nil {
		text = append(text, l.Goal.String())
	}
	if l.Errors > 0 {
		text = append(text, fmt.Sprintf("%d ERRORS", l.Errors))
	}
	if l.Note != "" {
		text = append(text, l.Note)
	}
	return strings.Join(text, "; ")
}

// goals prints all goals in one table.
func (r *Report) goals(out io.Writer) {
	fmt.Fprint(out, "\nGoals\n")
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, l := range r.Lines {
		if l.Goal != nil {
			fmt.Fprintf(w, "  %s: %s\t%s\t%s\t%s\n", l.Part, l.Name, l.Settings, l.value(), l.Goal)
		}
		for _, ratio := range l.Ratios {
			if ratio.Goal != nil {
				fmt.Fprintf(w, "  %s: %s\t%s\t%.3g x %s\t%s\n", l.Part, l.Name, l.Settings, ratio.Value, ratio.To, ratio.Goal)
			}
		}
	}
	w.Flush()
}

func machine(ctx context.Context) Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), Root: os.Geteuid() == 0, CPU: "unknown processor"}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(release))
	load, _ := os.ReadFile("/proc/loadavg")
	m.Load, _, _ = strings.Cut(string(load), " ")
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if m.Commit = strings.TrimSpace(string(commit)); err != nil {
		m.Commit = "unknown"
	}
	return m
}
