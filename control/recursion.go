package control

import (
	"context"

	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

// What RecursiveLoop may be, as in Lambda: whether a chain of calls may come
// back to the function.
const (
	RecursionAllow     = "Allow"
	RecursionTerminate = "Terminate"
)

// PutRecursion says whether a chain of calls may come back to a function.
//
// Errors: fault.Invalid for another value than the two.
func (s *Service) PutRecursion(ctx context.Context, g iam.Grant, name function.Name, loop string) (err error) {
	a, d, err := s.change(ctx, g, ActionPutRecursion, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if loop != RecursionAllow && loop != RecursionTerminate {
		return constraint("control.PutRecursion", printable(loop), "recursiveLoop", "Member must satisfy enum value set: [Allow, Terminate]")
	}
	r := d.functionRecord
	r.Recursive = loop == RecursionAllow
	return s.save(ctx, d.key, d.rev, r)
}

// GetRecursion gives what PutRecursion set; Terminate where nothing was set.
func (s *Service) GetRecursion(ctx context.Context, g iam.Grant, name function.Name) (string, error) {
	d, err := s.read(ctx, g, ActionGetRecursion, name)
	if err != nil {
		return "", err
	}
	if d.Recursive {
		return RecursionAllow, nil
	}
	return RecursionTerminate, nil
}
