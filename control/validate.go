package control

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/isolation"
	"github.com/carrel-dev/carrel/tenant"
)

// The bounds of Lambda's API reference and quotas page, but for MaxMemoryMB.
const (
	minMemoryMB = 128
	// lambdaMemoryMB is what Lambda's API takes; MaxMemoryMB is what a 32-bit
	// address space can hold.
	lambdaMemoryMB = 10240
	// MaxMemoryMB is the most MemorySize of a function.
	MaxMemoryMB       = 4096
	defaultMemoryMB   = 128
	defaultTimeout    = 3 * time.Second
	maxTimeout        = 900 * time.Second
	maxDescription    = 256
	maxHandler        = 128
	maxEnvironment    = 4096
	maxTags           = 50
	maxTagKey         = 128
	maxTagValue       = 256
	defaultHandler    = "bootstrap"
	maxRetries        = 2
	maxEventAge       = 21600
	minEventAge       = 60
	warmupTag         = "carrel:warmup"
	fuelTag           = "carrel:fuel"
	strategyTag       = "carrel:strategy"
	reservedTagPrefix = "carrel:"
)

// Bounds of our own, so that the state of one account stays of a size that
// every node can hold. Lambda has none of these.
const (
	// MaxFunctions is the most functions of an account.
	MaxFunctions = 10_000
	// MaxVersions is the most versions of a function that exist at once.
	MaxVersions = 1_000
	// MaxAliases is the most aliases of a function.
	MaxAliases = 1_000
	// MaxCodeSize is the most bytes of an account's packages: Lambda's 75 GB.
	MaxCodeSize = 75 << 30
	// MaxUnzipped is the most bytes of an unpacked package: Lambda's 250 MB.
	MaxUnzipped = 262_144_000
	// MaxZipped is the most bytes of an uploaded package: Lambda's 50 MB.
	MaxZipped = 50 << 20
)

var (
	envNameForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]+$`)
	handlerForm = regexp.MustCompile(`^[^\s]+$`)
	// tagForm is the set of characters that AWS takes in tags.
	tagForm = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
	// reservedEnv are the beginnings of names that the platform sets.
	reservedEnv = []string{"AWS_", "LAMBDA_", "CARREL_", "_HANDLER", "_X_AMZN_"}
)

// constraint has the form of AWS's messages about a parameter.
func constraint(op, value, field, rule string) error {
	return fault.New(op, fault.Invalid, "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: %s", value, field, rule).
		WithCode("ValidationException")
}

// checkVersion checks a configuration as a whole.
func (s *Service) checkVersion(op string, account tenant.AccountID, v *function.Version) error {
	if err := checkLimits(op, v.Limits); err != nil {
		return err
	}
	if err := s.checkRuntime(v.Runtime); err != nil {
		return err
	}
	switch {
	case utf8.RuneCountInString(v.Description) > maxDescription:
		return constraint(op, printable(v.Description), "description", fmt.Sprintf("Member must have length less than or equal to %d", maxDescription))
	case len(v.Handler) > maxHandler:
		return constraint(op, printable(v.Handler), "handler", fmt.Sprintf("Member must have length less than or equal to %d", maxHandler))
	case !handlerForm.MatchString(v.Handler):
		return constraint(op, printable(v.Handler), "handler", `Member must satisfy regular expression pattern: [^\s]+`)
	}
	if err := checkHandler(op, v); err != nil {
		return err
	}
	owner, err := function.ParseRoleARN(v.Role)
	if err != nil {
		return constraint(op, printable(v.Role), "role",
			`Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+`)
	}
	if owner != account {
		return fault.New(op, fault.Denied, "Cross-account pass role is not allowed.").WithCode("AccessDeniedException")
	}
	return checkEnvironment(op, v.Environment)
}

func checkLimits(op string, l function.Limits) error {
	switch {
	case l.MemoryMB < minMemoryMB:
		return constraint(op, fmt.Sprint(l.MemoryMB), "memorySize", fmt.Sprintf("Member must have value greater than or equal to %d", minMemoryMB))
	case l.MemoryMB > lambdaMemoryMB:
		return constraint(op, fmt.Sprint(l.MemoryMB), "memorySize", fmt.Sprintf("Member must have value less than or equal to %d", lambdaMemoryMB))
	case l.MemoryMB > MaxMemoryMB:
		return invalid(op, "MemorySize is %d; a WebAssembly module can address at most %d MB.", l.MemoryMB, MaxMemoryMB)
	case l.Timeout < time.Second:
		return constraint(op, fmt.Sprint(int(l.Timeout.Seconds())), "timeout", "Member must have value greater than or equal to 1")
	case l.Timeout > maxTimeout:
		return constraint(op, fmt.Sprint(int(l.Timeout.Seconds())), "timeout", fmt.Sprintf("Member must have value less than or equal to %d", int(maxTimeout.Seconds())))
	case l.Timeout%time.Second != 0:
		return invalid(op, "Timeout is %s; whole seconds are allowed.", l.Timeout)
	}
	return nil
}

func checkEnvironment(op string, env map[string]string) error {
	var reserved []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		isReserved := slices.ContainsFunc(reservedEnv, func(p string) bool { return strings.HasPrefix(strings.ToUpper(name), p) })
		switch {
		case isReserved:
			reserved = append(reserved, printable(name))
		case !envNameForm.MatchString(name):
			return constraint(op, printable(name), "environment.variables", "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]")
		case strings.ContainsRune(env[name], 0):
			return invalid(op, "The value of the environment variable %s has a NUL character.", name)
		}
	}
	if len(reserved) > 0 {
		return invalid(op, "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s",
			strings.Join(reserved, ", "))
	}
	// Lambda measures the JSON form.
	text, err := json.Marshal(env)
	if err != nil || len(env) > 0 && len(text) > maxEnvironment {
		return invalid(op, "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.")
	}
	return nil
}

func checkTags(op string, tags map[string]string) error {
	if len(tags) > maxTags {
		return invalid(op, "Number of tags exceeds resource tag limit of %d.", maxTags)
	}
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxTagKey:
			return invalid(op, "A tag's key has %d characters; 1 to %d are allowed.", utf8.RuneCountInString(key), maxTagKey)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return invalid(op, "The tag key %s begins with aws:, which is reserved.", printable(key))
		case isReservedTag(key):
			return invalid(op, "The tag key %s is the platform's: it gives every principal the name of its tenant.", printable(key))
		case utf8.RuneCountInString(value) > maxTagValue:
			return invalid(op, "The value of the tag %s has %d characters; at most %d are allowed.", printable(key), utf8.RuneCountInString(value), maxTagValue)
		case key == warmupTag:
			if !json.Valid([]byte(value)) {
				return invalid(op, "The value of the tag %s is not JSON; it has to be the event to warm up with.", warmupTag)
			}
		case key == fuelTag:
			if _, err := parseFuel(value); err != nil {
				return invalid(op, "The value of the tag %s is %s; it has to be the most units of fuel of one call, a whole number from 1 to %d.", fuelTag, printable(value), int64(maxFuel))
			}
		case key == strategyTag:
			if s, err := isolation.ParseStrategy(value); err != nil || s == isolation.NoStrategy {
				return invalid(op, "The value of the tag %s is %s; it has to be namespace, function or account.", strategyTag, printable(value))
			}
		case strings.HasPrefix(strings.ToLower(key), reservedTagPrefix):
			return invalid(op, "The tag key %s begins with %s, which is reserved; there are only %s, %s and %s.", printable(key), reservedTagPrefix, warmupTag, fuelTag, strategyTag)
		case !tagForm.MatchString(key) || !tagForm.MatchString(value):
			return invalid(op, "The tag %s has characters other than letters, digits, spaces and _.:/=+-@.", printable(key))
		}
	}
	return nil
}

// maxFuel is far more than any call can use within the longest timeout.
const maxFuel = 1e15

// parseFuel reads the value of the tag carrel:fuel.
func parseFuel(value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 64)
	if err == nil && (n == 0 || n > maxFuel) {
		err = strconv.ErrRange
	}
	return n, err
}

// printable makes a caller's text fit for a message: bounded and on one line.
func printable(text string) string {
	const most = 128
	text = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, text)
	if utf8.RuneCountInString(text) > most {
		text = string([]rune(text)[:most]) + "..."
	}
	return text
}
