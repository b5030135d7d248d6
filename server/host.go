//go:build linux

package server

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/carrel-dev/carrel/call"
	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/host"
	"github.com/carrel-dev/carrel/iam"
	"github.com/carrel-dev/carrel/tenant"
)

// openHost makes what serves functions while they run. The driver, which is
// older, has no call before it is there.
func (n *Node) openHost() {
	n.host = host.New(host.Config{
		Control: hostControl{n.control}, Pipeline: n.pipeline, Region: n.cfg.Region, Now: time.Now, NewRequestID: uuid.NewString,
	})
}

// nodeHost is the node's host, as the driver knows it.
type nodeHost struct{ n *Node }

// Serve implements process.Host.
func (h nodeHost) Serve(ctx context.Context, c *call.Call, op uint32, request []byte) []byte {
	return h.n.host.Serve(ctx, c, op, request)
}

// Refuse implements process.Host.
func (h nodeHost) Refuse(c *call.Call, cause error) []byte { return h.n.host.Refuse(c, cause) }

// hostControl is the control service, as package host knows it.
type hostControl struct{ *control.Service }

// Resolve implements host.Control.
func (c hostControl) Resolve(account tenant.AccountID, name function.Name, qualifier string) (*function.Target, error) {
	return c.Service.Resolve(account, name, qualifier, rand.Uint64())
}

// NewEndTenant implements host.Control.
func (c hostControl) NewEndTenant(ctx context.Context, g iam.Grant, id tenant.EndTenantID, requestID string) (tenant.UID, error) {
	return c.EndTenant(control.WithRequestID(ctx, requestID), g, id)
}

// Role implements host.Control.
func (c hostControl) Role(t *function.Target) (host.Role, bool) {
	r, found := c.ExecutionRole(t)
	if !found {
		return host.Role{}, false
	}
	made := host.Role{Name: r.Name, ID: r.ID, UID: r.UID}
	if t.Instance != nil {
		made.Template = t.Instance.TemplateUID
	}
	return made, true
}
