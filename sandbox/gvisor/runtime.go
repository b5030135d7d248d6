package gvisor

// Runtime is the OCI runtime that makes sandboxes.
type Runtime struct {
	// Path is its binary.
	Path string `json:"path"`
	// OCI says that it is another runtime than runsc: it gets only what every
	// OCI runtime understands.
	OCI bool `json:"oci,omitempty"`
}

// Where box puts things in the root that the runtime sees.
const (
	bundleFolder = "/bundle"
	stateFolder  = "/state"
	containerID  = "carrel"
)

// Args gives the runtime's command line, without its name.
//
// For runsc: the user namespace that box is in already makes it root over
// nothing (rootless: no id of the host besides the sandbox's own is mapped);
// the spawner has made the cgroup; no network but the sandbox's loopback; no
// socket, pipe or device of the host; no file of the host opened by the
// sentry itself (directfs), nor written (overlay2 would need a place). The
// gofer stays in box's network namespace, which is empty too, instead of
// making one more.
func (r Runtime) Args() []string {
	run := []string{"run", "--bundle=" + bundleFolder}
	if r.OCI {
		// runc and its kin pass on descriptors from 3 by their number.
		return append(append([]string{"--root=" + stateFolder}, run...), "--preserve-fds=1", containerID)
	}
	return append(append([]string{
		"--root=" + stateFolder,
		"--rootless",
		"--ignore-cgroups",
		"--platform=systrap",
		"--network=none",
		"--gofer-network-namespace=host",
		"--host-uds=none",
		"--host-fifo=none",
		"--overlay2=none",
		"--directfs=false",
		"--character-device-policy=emulated-only",
		"--allow-suid=false",
		"--net-raw=false",
		"--host-settings=ignore",
		"--sidecar-usage-policy=LEGACY_DEPRECATED_SLOW_EMBEDDED_FALLBACK",
	}, run...), "--pass-fd=3:3", containerID)
}
