// Package pause waits, for no longer than its caller does.
package pause

import (
	"context"
	"time"
)

// For waits for d. It gives the context's error at once if that ends before.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
