package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/function/schema"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/secret"
)

// The actions on the JSON Schema of a function's events. The resource is the
// function, by its ARN of Lambda.
const (
	ActionPutEventSchema    = "carrel:PutEventSchema"
	ActionGetEventSchema    = "carrel:GetEventSchema"
	ActionDeleteEventSchema = "carrel:DeleteEventSchema"
)

// EventSchema is what a version's events have to be like.
type EventSchema struct {
	// Version is the version that has it.
	Version string
	// Digest is the SHA-256 of Text.
	Digest function.Digest
	Text   []byte
}

// PutEventSchema gives $LATEST a JSON Schema for its events, in force at once.
// Versions that are published keep what they were published with.
//
// Errors: those of schema.Compile; fault.Conflict while an update is in
// progress.
func (s *Service) PutEventSchema(ctx context.Context, g iam.Grant, name function.Name, text []byte) (out EventSchema, err error) {
	a, d, err := s.change(ctx, g, ActionPutEventSchema, name)
	if err != nil {
		return EventSchema{}, err
	}
	defer a.end(&err)
	if _, err := schema.Compile(text); err != nil {
		return EventSchema{}, err
	}
	if err := d.settled("control.PutEventSchema"); err != nil {
		return EventSchema{}, err
	}
	if _, err := s.cfg.Blobs.Put(ctx, d.AccountUID, secret.Schema, text); err != nil {
		return EventSchema{}, fault.Wrap("control.PutEventSchema", fault.Unavailable, err, "The schema could not be stored.").WithCode("ServiceException").
			WithRemedy("Try again; if it goes on, tell the operator.")
	}
	sum := sha256.Sum256(text)
	digest := function.Digest(hex.EncodeToString(sum[:]))
	return EventSchema{function.Latest, digest, text}, s.setSchema(ctx, d, digest)
}

// DeleteEventSchema has $LATEST take any event again.
//
// Errors: fault.NotFound if it has no schema; fault.Conflict while an update is
// in progress.
func (s *Service) DeleteEventSchema(ctx context.Context, g iam.Grant, name function.Name) (err error) {
	a, d, err := s.change(ctx, g, ActionDeleteEventSchema, name)
	if err != nil {
		return err
	}
	defer a.end(&err)
	if d.Latest.Schema == "" {
		return noSchema(d, "")
	}
	if err := d.settled("control.DeleteEventSchema"); err != nil {
		return err
	}
	return s.setSchema(ctx, d, "")
}

func (s *Service) setSchema(ctx context.Context, d *deployed, digest function.Digest) error {
	r := d.functionRecord
	r.Latest.Schema = digest
	if r.Serving != nil {
		// What was deployed last failed, and what was there before it serves.
		serving := *r.Serving
		serving.Schema = digest
		r.Serving = &serving
	}
	r.Latest.LastModified, r.Latest.RevisionID = s.cfg.Now().UTC(), uuid.NewString()
	if err := s.save(ctx, d.key, d.rev, r); err != nil {
		return err
	}
	s.discard(d)
	return nil
}

// GetEventSchema gives the schema of the version that a qualifier names.
//
// Errors: fault.NotFound if it has none.
func (s *Service) GetEventSchema(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (EventSchema, error) {
	d, err := s.read(ctx, g, ActionGetEventSchema, name)
	if err != nil {
		return EventSchema{}, err
	}
	v, err := d.version(qualifier)
	if err != nil {
		return EventSchema{}, err
	}
	if v.Schema == "" {
		return EventSchema{}, noSchema(d, qualifier)
	}
	text, err := s.cfg.Blobs.Get(ctx, d.AccountUID, secret.Schema, v.Schema)
	return EventSchema{v.Number, v.Schema, text}, err
}

func noSchema(d *deployed, qualifier string) error {
	return fault.New("control.EventSchema", fault.NotFound, "%s has no schema for its events.", d.arn(qualifier)).
		WithCode("ResourceNotFoundException")
}

// schemaPart is the schema's part of what a version takes over.
func schemaPart(v *function.Version) string {
	if v.Schema == "" {
		return "" // as in versions from before there were schemas
	}
	return "schema:" + string(v.Schema) + "/"
}
