// Package wasm runs tenants' WebAssembly modules, each call in a fresh state.
//
// It is used in two places, both jailed processes: the one-shot compile
// process calls [Build], which turns a module into an [Artifact] (the module
// as it will be loaded, its native code and its memory image), and a worker
// calls [Engine.LoadFD] and [Guest.Run]. It does no communication of its own.
//
// # Shapes of module
//
// A reactor exports handle ()->i32, and usually _initialize ()->(). It is
// initialised once, when it is built; the state after that is its image. Each
// call starts from the image, runs handle, and is undone. Zero is success.
//
// A command exports _start ()->(). Each call runs the whole program from its
// state after instantiation. Returning, or proc_exit(0), is success.
//
// # What a guest can import
//
//   - wasi_snapshot_preview1: see package wasi.
//   - carrel_v1.version ()->i32: 1.
//   - carrel_v1.context (ptr, len)->i32: what differs from call to call, as a
//     JSON object. The answer is its length in bytes. It was copied to ptr only
//     if len is at least that; -1 means that ptr and len do not lie in memory.
//   - carrel_v1.call (op, ptr, len)->i32: has the platform do operation op,
//     with the request at ptr, and waits until it has ended. The answer is the
//     length of the reply in bytes, which the host keeps until the next call.
//     Instead of a length it is -1 where ptr and len do not lie in memory, -2
//     where there is no such operation, -3 where the request is over 6,295,552
//     bytes (6 MiB and 4 KiB), -4 where the function has asked as often as one
//     call may (1,000 times). Operation 1 is invoke; package host has the
//     layout of its request and reply. Anything else may come to be an
//     operation, so a guest that finds -2 runs on an older platform.
//     Operations 2 and 3 give the result in pieces and have no reply: 2, at
//     most once and before the first piece, says of which content type it is
//     (at most 255 printable ASCII characters; none for bytes of any kind), 3
//     sends the request as a piece. They are not counted among the 1,000, and
//     -5 says that 2 came too late or with something else. A caller that takes
//     pieces gets each as it comes, at most 200 MiB together, and the function
//     waits while that caller is slow; any other gets all of them joined, at
//     most 6,291,556 bytes. What is written to standard output is the last.
//   - carrel_v1.reply (ptr, len)->i32: the reply of the last carrel_v1.call, in
//     the manner of carrel_v1.context. Before the first, and after operations
//     2 and 3, there is an empty one.
//
// A reactor may export carrel_scratch ()->i32, the address of 64 bytes that
// stay its own for ever, and carrel_restored (ptr, len)->(): then each call
// begins by writing 32 fresh random bytes to the scratch space and calling
// carrel_restored with their address and length, so that generators kept in
// the guest do not repeat. carrel_scratch is called once, after initialisation.
//
// # What an image may depend on
//
// While an image is made the host gives fixed answers: the clock stands at
// 2020-01-01T00:00:00Z (a sleep takes no time and moves it by what was asked
// for), random bytes are the stream of the zero seed, the environment is the
// declared one, there is no event and the context is the empty object. A timer
// that was set then has long passed in the first call. A module that uses
// carrel_v1.call then cannot be built.
//
// # How a call is undone
//
// Memory is reserved up to its limit and backed by the image. Pages written
// for the first time are found by the kernel (userfaultfd's asynchronous write
// protection and PAGEMAP_SCAN); they stay writable from then on, and after
// each call all of them are compared with the image and copied back where they
// differ. Where the kernel lacks this every page is compared. Globals are set
// back by the instrumented module's own carrel.restore. Grown memory shrinks
// back. What cannot be set back (tables, dropped segments) marks the instance
// as tainted, and it is thrown away for a new one on the same memory.
//
// # What the memory limit does not count
//
// The native stack of a guest is wazero's, in our heap. It doubles from 10 KiB
// until it has passed 50 MB, so a recursion without end takes 84 MB, and half
// as much again while it is copied, before it traps. A process that runs guests
// has to have room for that beside the guest's memory limit.
//
// # What a call costs
//
// Fuel counts the instructions of a run (package wasm says how) and host calls
// (package wasi says how much; a carrel_v1.call is 5,000 units, and one for four
// bytes of request and of each copy of the reply). Equal input gives equal
// fuel; what carrel_v1.call replied is part of the input, and so is how long it
// took: no fuel is taken while the guest waits, and its clocks, which stand
// still between calls of the host, go forward by that time then.
package wasm
