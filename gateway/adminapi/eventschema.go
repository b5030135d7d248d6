package adminapi

import (
	"context"
	"net/http"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/iam"
)

// EventSchemas say what functions' events have to be like.
type EventSchemas interface {
	PutEventSchema(ctx context.Context, g iam.Grant, name function.Name, text []byte) (control.EventSchema, error)
	GetEventSchema(ctx context.Context, g iam.Grant, name function.Name, qualifier string) (control.EventSchema, error)
	DeleteEventSchema(ctx context.Context, g iam.Grant, name function.Name) error
}

// EventSchema is the JSON Schema of a version's events.
type EventSchema struct {
	Function function.Name   `json:"functionName" example:"hello"`
	Version  string          `json:"version" doc:"Version that has it" example:"$LATEST"`
	SHA256   function.Digest `json:"sha256" doc:"Of the text, in hexadecimal digits"`
	Schema   string          `json:"schema" doc:"JSON Schema of draft 2020-12, as it was put"`
}

// FunctionNameInput names a function of the caller's account in the path.
type FunctionNameInput struct {
	Name string `path:"name" maxLength:"64" doc:"Name of the function" example:"hello"`
}

type putEventSchemaInput struct {
	FunctionNameInput
	Body struct {
		Schema string `json:"schema" maxLength:"65536" doc:"JSON Schema of draft 2020-12, as text; it names nothing outside itself"`
	}
}

type getEventSchemaInput struct {
	FunctionNameInput
	Qualifier string `query:"qualifier" maxLength:"128" doc:"Version or alias; $LATEST if left out"`
}

func (h *handler) eventSchemas() {
	register(h, operation{id: "PutEventSchema", method: http.MethodPut, path: "/v1/functions/{name}/schema",
		summary: "Have the events of a function's $LATEST checked against a JSON Schema, at once"}, h.putEventSchema)
	register(h, operation{id: "GetEventSchema", method: http.MethodGet, path: "/v1/functions/{name}/schema",
		summary: "Show the JSON Schema of a version's events"}, h.getEventSchema)
	register(h, operation{id: "DeleteEventSchema", method: http.MethodDelete, path: "/v1/functions/{name}/schema",
		summary: "Have a function's $LATEST take any event again"}, h.deleteEventSchema)
}

func (h *handler) putEventSchema(ctx context.Context, in *putEventSchemaInput) (*reply[EventSchema], error) {
	g, name, err := h.onFunction(ctx, control.ActionPutEventSchema, in.Name)
	if err != nil {
		return nil, err
	}
	s, err := h.Control.PutEventSchema(ctx, g, name, []byte(in.Body.Schema))
	return showEventSchema(name, &s, err)
}

func (h *handler) getEventSchema(ctx context.Context, in *getEventSchemaInput) (*reply[EventSchema], error) {
	g, name, err := h.onFunction(ctx, control.ActionGetEventSchema, in.Name)
	if err != nil {
		return nil, err
	}
	s, err := h.Control.GetEventSchema(ctx, g, name, in.Qualifier)
	return showEventSchema(name, &s, err)
}

func showEventSchema(name function.Name, s *control.EventSchema, err error) (*reply[EventSchema], error) {
	if err != nil {
		return nil, err
	}
	return &reply[EventSchema]{EventSchema{Function: name, Version: s.Version, SHA256: s.Digest, Schema: string(s.Text)}}, nil
}

func (h *handler) deleteEventSchema(ctx context.Context, in *FunctionNameInput) (*reply[Done], error) {
	g, name, err := h.onFunction(ctx, control.ActionDeleteEventSchema, in.Name)
	if err != nil {
		return nil, err
	}
	return done, h.Control.DeleteEventSchema(ctx, g, name)
}
