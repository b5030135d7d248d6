//go:build linux

package cgroup

import (
	"path"
	"strconv"
	"strings"
)

// mount is one mounted hierarchy.
type mount struct {
	point       string // where it is mounted
	root        string // which group of the hierarchy is seen there
	unified     bool
	controllers []Controller
}

// parseMounts reads /proc/self/mountinfo (proc_pid_mountinfo(5)): fields by
// spaces, a dash before file system type, source and super block options.
func parseMounts(text string) []mount {
	var all []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, tail := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(tail) < 3 {
			continue
		}
		m := mount{root: unescape(fields[3]), point: unescape(fields[4])}
		switch tail[0] {
		case "cgroup2":
			m.unified = true
		case "cgroup":
			for _, option := range strings.Split(tail[2], ",") {
				m.controllers = append(m.controllers, Controller(option))
			}
		default:
			continue
		}
		all = append(all, m)
	}
	return all
}

// unescape undoes the octal escapes for space, tab, newline and backslash.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// parseOwn reads /proc/self/cgroup: the path of the process's group by
// controller; the unified hierarchy stands under the empty name.
func parseOwn(text string) map[Controller]string {
	paths := map[Controller]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, c := range strings.Split(parts[1], ",") {
			paths[Controller(c)] = parts[2]
		}
	}
	return paths
}

// folder gives where the process's own group is seen below this mount; false
// if it is not, or the process is outside of what is mounted.
func (m mount) folder(paths map[Controller]string) (string, bool) {
	names := m.controllers
	if m.unified {
		names = []Controller{""}
	}
	for _, c := range names {
		own, ok := paths[c]
		if !ok || strings.Contains(own, "/..") {
			continue
		}
		rest, inside := strings.CutPrefix(own, strings.TrimSuffix(m.root, "/"))
		if inside && (rest == "" || rest[0] == '/') {
			return path.Join(m.point, rest), true
		}
	}
	return "", false
}
