// Package gvisor makes and describes sandboxes for the wall "kernel": a
// process that has a kernel of its own, gVisor's, between itself and the
// host's.
//
// Two walls stand behind each other here. sandbox/jail/spawner starts
// `carrel-worker box` in the same six namespaces as a jailed worker, with a
// host user and a cgroup of its own. Box makes a root that holds nothing but
// a bundle and what the bundle needs, moves into it, and becomes the OCI
// runtime, which starts gVisor's kernel and in it `carrel-worker inside …`:
//
//	spawner ── fork, six namespaces ── box ═ runsc run ── gofer
//	                                            └─ sentry ── the inside process
//	node ───────────── one socket, passed through ──────────────┘
//
// The runtime's state folder, its bind mounts and the bundle are in a mount
// namespace that ends with the processes in it, and the runtime is the first
// process of its pid namespace. So ending one process ends all, and a crash
// leaves nothing on the host but a cgroup, which the next spawner removes:
// there are no orphans, no mounts and no folders to look for.
//
// Nothing here sees a byte of a tenant: a bundle is made of the spawner's
// configuration only.
package gvisor
