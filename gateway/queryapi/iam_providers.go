package queryapi

import (
	"strings"
	"time"

	"github.com/carrel-dev/carrel/control"
	"github.com/carrel-dev/carrel/iam"
)

// Inputs of operations on OIDC providers.
type (
	createProviderInput struct {
		Url            string   `q:"required" len:"1-255"`
		ClientIDList   []string `elem:"1-255"`
		ThumbprintList []string `elem:"40-40"`
		Tags           tagList  `len:"0-50"`
	}
	providerInput struct {
		OpenIDConnectProviderArn string `q:"required" len:"20-2048"`
	}
	clientIDInput struct {
		providerInput
		ClientID string `q:"required" len:"1-255"`
	}
	thumbprintInput struct {
		providerInput
		ThumbprintList []string `q:"required" elem:"40-40"`
	}
	tagProviderInput struct {
		providerInput
		tagsInput
	}
	untagProviderInput struct {
		providerInput
		tagKeysInput
	}
	providerPageInput struct {
		providerInput
		pageInput
	}
)

func (in *providerInput) providerARN() string { return in.OpenIDConnectProviderArn }

// onProvider is the provider of the ARN that the input names.
func onProvider[I any, P interface {
	*I
	providerARN() string
}](rq *request, in *I) (target, error) {
	return rq.onARN(P(in).providerARN(), sortProvider)
}

func onTagProvider(rq *request, in *tagProviderInput) (target, error) {
	t, err := onProvider(rq, in)
	t.keys = requestTags(in.Tags)
	return t, err
}

func onUntagProvider(rq *request, in *untagProviderInput) (target, error) {
	t, err := onProvider(rq, in)
	t.keys = tagKeys(in.TagKeys)
	return t, err
}

func onNewProvider(rq *request, in *createProviderInput) (target, error) {
	return target{resource: control.ProviderResource(rq.principal.Account, in.Url), keys: requestTags(in.Tags)}, nil
}

func providerOperations() []operation {
	return append([]operation{
		served("CreateOpenIDConnectProvider", onNewProvider, createProvider),
		served("GetOpenIDConnectProvider", onProvider, getProvider),
		served("ListOpenIDConnectProviders", onList[noInput](sortProvider), listProviders),
		served("DeleteOpenIDConnectProvider", onProvider, func(rq *request, g iam.Grant, in *providerInput) (any, error) {
			return nil, rq.h.Control.DeleteOpenIDConnectProvider(rq.ctx, g, in.OpenIDConnectProviderArn)
		}),
	}, providerPartOperations()...)
}

func providerPartOperations() []operation {
	return []operation{
		served("AddClientIDToOpenIDConnectProvider", onProvider, func(rq *request, g iam.Grant, in *clientIDInput) (any, error) {
			return nil, rq.h.Control.AddClientIDToOpenIDConnectProvider(rq.ctx, g, in.OpenIDConnectProviderArn, in.ClientID)
		}),
		served("RemoveClientIDFromOpenIDConnectProvider", onProvider, func(rq *request, g iam.Grant, in *clientIDInput) (any, error) {
			return nil, rq.h.Control.RemoveClientIDFromOpenIDConnectProvider(rq.ctx, g, in.OpenIDConnectProviderArn, in.ClientID)
		}),
		served("UpdateOpenIDConnectProviderThumbprint", onProvider, func(rq *request, g iam.Grant, in *thumbprintInput) (any, error) {
			return nil, rq.h.Control.UpdateOpenIDConnectProviderThumbprint(rq.ctx, g, in.OpenIDConnectProviderArn, in.ThumbprintList)
		}),
		served("TagOpenIDConnectProvider", onTagProvider, func(rq *request, g iam.Grant, in *tagProviderInput) (any, error) {
			return nil, rq.h.Control.TagOpenIDConnectProvider(rq.ctx, g, in.OpenIDConnectProviderArn, in.Tags.tags())
		}),
		served("UntagOpenIDConnectProvider", onUntagProvider, func(rq *request, g iam.Grant, in *untagProviderInput) (any, error) {
			return nil, rq.h.Control.UntagOpenIDConnectProvider(rq.ctx, g, in.OpenIDConnectProviderArn, in.TagKeys)
		}),
		served("ListOpenIDConnectProviderTags", onProvider, func(rq *request, g iam.Grant, in *providerPageInput) (any, error) {
			return tagsPageOf(rq.h.Control.ListOpenIDConnectProviderTags(rq.ctx, g, in.OpenIDConnectProviderArn, in.of()))
		}),
	}
}

func createProvider(rq *request, g iam.Grant, in *createProviderInput) (any, error) {
	p, err := rq.h.Control.CreateOpenIDConnectProvider(rq.ctx, g, control.CreateProviderInput{
		URL: in.Url, ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList, Tags: in.Tags.tags()})
	return struct {
		OpenIDConnectProviderArn string
		Tags                     []tag
	}{p.ARN, tagsOf(p.Tags)}, err
}

// getProvider shows the issuer without https://, as AWS does.
func getProvider(rq *request, g iam.Grant, in *providerInput) (any, error) {
	p, err := rq.h.Control.GetOpenIDConnectProvider(rq.ctx, g, in.OpenIDConnectProviderArn)
	same := func(s string) string { return s }
	return struct {
		Url                          string
		ClientIDList, ThumbprintList []string
		CreateDate                   time.Time
		Tags                         []tag
	}{strings.TrimPrefix(p.URL, "https://"), mapped(p.ClientIDs, same), mapped(p.Thumbprints, same), p.CreatedAt, tagsOf(p.Tags)}, err
}

func listProviders(rq *request, g iam.Grant, _ *noInput) (any, error) {
	arns, err := rq.h.Control.ListOpenIDConnectProviders(rq.ctx, g)
	type entry struct{ Arn string }
	return struct{ OpenIDConnectProviderList []entry }{mapped(arns, func(arn string) entry { return entry{arn} })}, err
}
