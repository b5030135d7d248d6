package adminapi

import (
	"context"
	"net/http"

	"github.com/carrel-dev/carrel/fault"
)

func (h *handler) status() {
	register(h, operation{id: "GetStatus", method: http.MethodGet, path: "/v1/status",
		summary: "Show the state of the node"}, func(ctx context.Context, _ *struct{}) (*reply[any], error) {
		if _, err := h.onAccount(ctx, actionGetStatus, h.Control.Management(), "node/*"); err != nil {
			return nil, err
		}
		if h.Status == nil {
			return nil, fault.New("adminapi.status", fault.Unavailable, "The node does not tell its state yet.")
		}
		return &reply[any]{h.Status()}, nil
	})
}
