package adminapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// documentPath is where the OpenAPI document is.
const documentPath = "/v1/openapi.json"

// apiVersion is the version of this API, which is in its paths.
const apiVersion = "1"

const signature = "sigv4"

func newAPI(mux *http.ServeMux) huma.API {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	return humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Carrel", Version: apiVersion,
				Description: "Tenants, plans, usage, logs and events of a Carrel installation. Functions are made and called through the Lambda API on the same port.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{signature: {
					Type: "apiKey", In: "header", Name: "Authorization",
					Description: "AWS Signature Version 4 in the Authorization header, for the service carrel and the node's region. Every x-amz-* header must be signed.",
					Extensions:  map[string]any{"x-amazon-apigateway-authtype": "awsSigv4"},
				}},
			},
			Security: []map[string][]string{{signature: {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{validationError},
	})
}

// operation is what the document says of an operation beside its types.
type operation struct {
	id, method, path, summary string
	status                    int
}

// register adds an operation. What its handler returns as an error becomes
// this API's error body.
func register[I, O any](h *handler, op operation, act func(context.Context, *I) (*O, error)) {
	if op.status == 0 {
		op.status = http.StatusOK
	}
	errorSchema := h.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Error](), true, "")
	huma.Register(h.api, huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, DefaultStatus: op.status,
		Middlewares:  huma.Middlewares{h.strict},
		MaxBodyBytes: MaxBody + 1, // the bound was kept when the body was read
		Responses: map[string]*huma.Response{
			"default":               {Description: "What failed, why, and what to do", Content: map[string]*huma.MediaType{"application/json": {Schema: errorSchema}}},
			strconv.Itoa(op.status): {Description: http.StatusText(op.status)},
		},
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := act(ctx, in)
		if err != nil {
			return nil, h.failure(ctx, sessionOf(ctx).id, err)
		}
		return out, nil
	})
}

// describe gives the OpenAPI document.
func describe(api huma.API) []byte {
	schemas := api.OpenAPI().Components.Schemas.Map()
	for _, name := range []string{"ErrorModel", "ErrorDetail"} {
		delete(schemas, name) // the parser's own form of errors, which no answer has
	}
	body, err := json.MarshalIndent(api.OpenAPI(), "", "  ")
	if err != nil {
		panic("adminapi: the OpenAPI document cannot be written: " + err.Error())
	}
	return append(body, '\n')
}
