package main

import (
	"context"
	"net/url"

	"github.com/carrel-dev/carrel/iam/prove"
	"github.com/carrel-dev/carrel/internal/client"
)

// offline tells whether anything is asked that needs no node.
func (p *proof) offline() bool {
	return p.implies || p.endTenants || p.boundary != "" || len(p.policies)+len(p.layouts)+len(p.scps) > 0
}

// proveNode has the node judge what is in force.
func (a *app) proveNode(ctx context.Context, tenant string) error {
	r := client.Request{Path: "/v1/prove"}
	if tenant != "" {
		r.Query = url.Values{"tenant": {tenant}}
	}
	var report prove.Report
	err := a.do(ctx, r, &report)
	if err != nil {
		return err
	}
	if a.output == outputJSON {
		err = writeJSON(a.stdout, report)
	} else {
		err = a.report(&report)
	}
	if err != nil {
		return err
	}
	return verdictCode(report.Result)
}
