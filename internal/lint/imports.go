package lint

import "strings"

// layers says what each top-level package may import of ours, by prefix.
// "internal/" is for all, unless a row below says otherwise.
var layers = map[string][]string{
	"fault":     {},
	"tenant":    {},
	"isolation": {},
	"wasm":      {"fault"},
	"config":    {"function", "tenant"},
	"function":  {"tenant", "fault", "isolation"},
	"call":      {"function", "tenant", "isolation"},
	"iam":       {"call", "fault", "function", "tenant", "isolation"},
	"admit":     {"call", "fault", "function", "iam", "tenant"},
	"audit":     {"call", "fault", "function", "iam", "tenant"},
	"meter":     {"call", "fault", "function", "iam", "tenant"},
	"secret":    {"fault", "tenant"},
	"bus":       {"fault", "tenant"},
	"store":     {"bus", "fault", "secret", "tenant"},
	"observe":   {"call", "fault", "function", "iam", "secret", "tenant"},
	"sandbox":   {"admit", "call", "fault", "function", "iam", "tenant", "wasm", "worker/wire", "sandbox", "isolation"},
	"worker":    {"fault", "sandbox/jail", "sandbox/wasm", "wasm", "worker/wire"},
	"invoke":    {"admit", "audit", "call", "fault", "iam", "meter", "observe", "sandbox", "tenant", "isolation"},
	"host":      {"call", "fault", "function", "iam", "tenant", "isolation"},
	"control":   {"admit", "call", "fault", "function", "iam", "secret", "store", "tenant", "isolation"},
	"trigger":   {"admit", "audit", "bus", "call", "fault", "function", "iam", "meter", "secret", "store", "tenant", "isolation"},
	"gateway":   {"admit", "audit", "call", "control", "fault", "function", "iam", "meter", "observe", "tenant", "isolation"},
	"attack":    {"wasm"},
	"server":    {"*"},
	"cmd":       {"attack", "config", "fault", "function/schema", "iam/policy", "iam/prove", "iam/simulate", "iam/token", "server", "worker", "sandbox/gvisor", "sandbox/jail", "internal", "isolation"},
	"sdk":       {},
	"examples":  {"sdk"},
	"test":      {"*"},
	"internal":  {"fault", "tenant", "function", "config"},
}

// forbidden rows hold for single folders, whatever layers says: what runs
// with a tenant's code, or alone decides, must not be able to name the rest.
var forbidden = map[string][]string{
	"worker":               {"iam", "store", "bus", "secret", "control", "admit", "audit", "meter"},
	"sandbox/wasm":         {"iam", "store", "bus", "secret", "control", "admit", "call"},
	"sandbox/jail":         {"iam", "store", "bus", "secret", "control", "admit", "call", "wasm"},
	"sandbox/jail/spawner": {"iam", "store", "bus", "secret", "control", "admit", "call", "wasm", "worker"},
}

// refused says why a package may not import another; empty if it may.
func refused(from, to string) string {
	for folder, list := range forbidden {
		if !within(from, folder) {
			continue
		}
		for _, banned := range list {
			if within(to, banned) {
				return folder + " must stay unable to reach " + banned
			}
		}
	}
	top, _, _ := strings.Cut(from, "/")
	if within(to, top) {
		return ""
	}
	allowed, known := layers[top]
	if !known {
		return "the folder is not in the table of package lint; add it there, with what it may import"
	}
	if within(to, "internal") && top != "fault" && top != "tenant" {
		return ""
	}
	for _, prefix := range allowed {
		if prefix == "*" || within(to, prefix) {
			return ""
		}
	}
	return "the table of package lint does not allow it; declare the interface you need instead"
}

func within(folder, prefix string) bool {
	return folder == prefix || strings.HasPrefix(folder, prefix+"/")
}
