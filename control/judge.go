package control

import "context"

// judge tells whether a change may be made. It gives what has to be recorded
// with it.
func (g *gate) judge(ctx context.Context, writes []write) ([]write, error) { return nil, nil }
