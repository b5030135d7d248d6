package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carrel-dev/carrel/internal/pause"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		if err := pause.For(ctx, time.Minute); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		time.AfterFunc(time.Second, cancel)
		begun = time.Now()
		if err := pause.For(ctx, time.Minute); !errors.Is(err, context.Canceled) || time.Since(begun) != time.Second {
			t.Errorf("cut short: %v after %s", err, time.Since(begun))
		}
	})
}
