// Package wasm is a tool kit for the WebAssembly binary format: it parses,
// validates, limits, instruments and encodes core modules of version 1.
//
// It stands before the engine. A tenant's bytes pass Parse, Check and
// Validate, in that order, before an engine sees them, so that what reaches
// the compiler is small enough, uses no proposal that is not needed and has
// been type-checked by code that shares nothing with the engine. Instrument
// then adds what the engine does not have: a fuel counter, and what the host
// needs to bring an instance back to an earlier state.
//
// The rules are those of the WebAssembly core specification 2.0 (the binary
// format of chapter 5, the validation algorithm of the appendix): the minimum
// viable product with sign extension, mutable globals, saturating
// conversions, multiple values, bulk memory, reference types and 128-bit
// vectors. Later proposals are refused by name.
//
// # Fuel
//
// The exported mutable i64 global carrel.fuel is lowered at every function
// entry, at every loop head and where a br_table leads, and carrel.yield is
// called at loop heads and function entries when it has become negative. What
// is charged is fixed by the module alone, so that equal runs
// cost the same on every machine:
//
//   - Every instruction counts 1, except block, loop, else and end, which
//     make no machine code and count 0.
//   - A region is a function body, or a loop body, without the loops nested
//     in it. Its cost is the count of its instructions, whether they are
//     reached or not; a loop body costs at least 1 and a function body costs
//     1 more than its count, for the call.
//   - A function entry pays for the function's own region; a loop head pays
//     for the loop's, at the first entry and at every turn.
//   - What follows the end of a block that a br_table can leave is a segment:
//     it is taken out of its region, and pays for itself when it is entered.
//     Compilers that turn a whole function into one loop over a br_table, as
//     Go's does, would pay for all of it at every turn otherwise. A loop that
//     has nothing of its own but such a dispatch pays nothing at its head.
//   - An entry that leads straight into a loop leaves looking at the fuel to
//     the loop.
//   - memory.fill, memory.copy and memory.init pay 1 for each 64 bytes (a
//     cache line) of their length operand, table.fill, table.copy,
//     table.init and table.grow 1 for each 8 elements, memory.grow 1,024
//     for each page (which is the same 64 bytes), all rounded down. The
//     operand counts for at most 65,536 pages of memory.grow, above which it
//     fails anyway, so no charge exceeds 2^29 and the counter cannot wrap
//     round between two calls of yield.
//
// The host sets carrel.fuel to a slice, and yield sets it to another slice, 0
// or more, or stops the guest: a yield that leaves it negative is called
// again. What is charged does not depend on the slices: the fuel used is the
// sum of every slice less what yield found, and that may be negative by one
// charge. A call that traps has paid for all of the region it trapped in.
//
// # Bringing an instance back
//
// carrel.save and carrel.restore copy all mutable globals of the guest, of
// every type, aside and back; the memory is exported for the host to do the
// same. carrel.tainted says whether anything else changed: tables, and which
// segments are left. A grown memory shows in its size. WithImage makes the
// module that begins in such a state in another process.
package wasm
