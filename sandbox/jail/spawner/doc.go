// Package spawner starts and ends jailed processes from a small process of
// its own.
//
// Starting a process in a user namespace copies the page tables of its
// parent, so a node that has grown is slow at it; and it takes privileges
// that the node gives up. So the node starts a spawner first:
//
//	node ── SOCK_SEQPACKET, messages of fixed size ── spawner ── fork ── jailed process
//	  └───────────── SOCK_STREAM and a pipe for standard error ─────────────┘
//
// Messages hold an operation, a slot and limits, nothing else: no path, no
// argument, no byte of a tenant. A slot is a number; it decides the host user
// and the name of the cgroup. The spawner makes the socket between the node
// and the jailed process, hands one end to each and keeps none.
//
// Nothing outlives the node. The spawner ends, and kills what it started,
// when its socket closes, which the kernel does even for a node that was
// killed. A jailed process dies with the spawner (parent death signal, sent
// when the starting thread ends: these threads live as long as the spawner)
// and, being the first process of its pid namespace, takes along whatever it
// started. Only cgroups can be left by a killed spawner; the next one with the
// same node id removes them.
//
// The spawner runs `carrel-worker spawner CONFIG`; it starts `carrel-worker
// worker`, `carrel-worker compile` and, once at start to see that the whole
// jail can be made on this host, `carrel-worker probe`.
package spawner
