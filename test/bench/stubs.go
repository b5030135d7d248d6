//go:build linux

package main

import "io"

func (b *bench) alone() error              { return nil }
func (b *bench) fuel() error               { return nil }
func (b *bench) cold() error               { return nil }
func (b *bench) many() error               { return nil }
func (b *bench) neighbour() error          { return nil }
func aloneRole(io.Reader, io.Writer) error { return nil }
func fuelRole(io.Reader, io.Writer) error  { return nil }
