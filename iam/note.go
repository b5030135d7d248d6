package iam

import (
	"context"

	"github.com/carrel-dev/carrel/tenant"
)

// Note is what the audit log records of an act beside what was asked.
type Note struct {
	// Reason is why somebody did what needs a reason.
	Reason string
	// Concerns is the account that an act of another one concerns: it finds the
	// act in its own audit log.
	Concerns tenant.AccountID
}

type noteKey struct{}

// WithNote gives a context under which acts are recorded with a note.
func WithNote(ctx context.Context, n Note) context.Context {
	return context.WithValue(ctx, noteKey{}, n)
}

// NoteOf gives the note of a context; an empty one if it has none.
func NoteOf(ctx context.Context) Note {
	n, _ := ctx.Value(noteKey{}).(Note)
	return n
}
