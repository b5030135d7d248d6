package wasmtest

import "github.com/carrel-dev/carrel/wasm"

// relayRoom is where Relay's guest keeps its event, and then the reply.
const relayRoom = 1024

// Relay gives a reactor that hands its event to carrel_v1.call as a request of
// operation op, and returns the reply as it is. If the answer is no length, it
// returns that as four bytes. It does so as often as times says, with the same
// event. The memory has so many pages of 64 KiB.
func Relay(op int32, times int32, pages uint32) []byte {
	i32 := wasm.I32
	b := New()
	four := Types(i32, i32, i32, i32)
	read := b.Import("wasi_snapshot_preview1", "fd_read", four, Types(i32))
	write := b.Import("wasi_snapshot_preview1", "fd_write", four, Types(i32))
	ask := b.Import("carrel_v1", "call", Types(i32, i32, i32), Types(i32))
	reply := b.Import("carrel_v1", "reply", Types(i32, i32), Types(i32))
	b.Memory(pages, pages)
	room := int32(pages<<16) - relayRoom
	b.Func("handle", nil, Types(i32), func(c *Code) {
		total, n, left := c.Local(i32), c.Local(i32), c.Local(i32)
		c.Loop() // read until the event ends
		c.I32Const(0).I32Const(relayRoom).LocalGet(total).Op(I32Add).Mem(I32Store, 0)
		c.I32Const(0).I32Const(room).LocalGet(total).Op(I32Sub).Mem(I32Store, 4)
		c.I32Const(0).I32Const(0).I32Const(1).I32Const(8).Call(read).Op(Drop)
		c.I32Const(0).Mem(I32Load, 8).LocalTee(n).LocalGet(total).Op(I32Add).LocalSet(total)
		c.LocalGet(n).BrIf(0).End()
		c.I32Const(times).LocalSet(left)
		c.Loop()
		c.I32Const(op).I32Const(relayRoom).LocalGet(total).Call(ask).LocalSet(n)
		c.LocalGet(left).I32Const(1).Op(I32Sub).LocalTee(left).BrIf(0).End()
		c.I32Const(0).I32Const(relayRoom).Mem(I32Store, 0)
		c.LocalGet(n).I32Const(0).Op(I32LtS).If()
		c.I32Const(relayRoom).LocalGet(n).Mem(I32Store, 0)
		c.I32Const(4).LocalSet(n).Else()
		c.I32Const(relayRoom).I32Const(room).Call(reply).LocalSet(n).End()
		c.I32Const(0).LocalGet(n).Mem(I32Store, 4)
		c.I32Const(1).I32Const(0).I32Const(1).I32Const(8).Call(write)
	})
	return b.Bytes()
}
