//go:build linux

package server

import (
	"bytes"
	"context"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/secret"
	"github.com/carrel-dev/carrel/store/blob"
	"github.com/carrel-dev/carrel/tenant"
)

// blobs is the blob store in the terms of the control plane.
type blobs struct {
	of *blob.Store
	// built is told of a new artefact; nil until there is a sandbox.
	built func(owner tenant.UID, digest function.Digest, content []byte)
}

// Put implements control.Blobs.
func (b blobs) Put(ctx context.Context, owner tenant.UID, kind secret.Kind, content []byte) (function.Digest, error) {
	d, err := b.of.Put(ctx, owner, kind, bytes.NewReader(content))
	if err != nil {
		return "", err
	}
	digest := function.Digest(d.String())
	if kind == secret.Image && b.built != nil {
		b.built(owner, digest, content)
	}
	return digest, nil
}

// Get implements control.Blobs.
func (b blobs) Get(ctx context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) ([]byte, error) {
	ref, err := reference(owner, kind, digest)
	if err != nil {
		return nil, err
	}
	return b.of.Get(ctx, ref)
}

// Delete implements control.Blobs.
func (b blobs) Delete(ctx context.Context, owner tenant.UID, kind secret.Kind, digest function.Digest) error {
	ref, err := reference(owner, kind, digest)
	if err != nil {
		return err
	}
	return b.of.Delete(ctx, ref)
}

func reference(owner tenant.UID, kind secret.Kind, digest function.Digest) (blob.Ref, error) {
	d, err := blob.ParseDigest(string(digest))
	if err != nil {
		return blob.Ref{}, fault.Wrap("server.blobs", fault.Internal, err, "a stored digest is malformed")
	}
	return blob.Ref{Owner: owner, Kind: kind, Digest: d}, nil
}
