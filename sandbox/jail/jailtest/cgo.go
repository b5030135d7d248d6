//go:build cgo

package jailtest

const withCgo = true
