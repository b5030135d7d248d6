package queryapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	got := must[*sts.GetCallerIdentityOutput](t)(b.sts(pairOf(b.acme)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))
	equal(t, "account", aws.ToString(got.Account), string(b.acme.AccountID))
	equal(t, "ARN", aws.ToString(got.Arn), "arn:aws:iam::"+string(b.acme.AccountID)+":user/admin")
}

// TestPresignedGet is how a token of a cluster proves who asks: a GET that
// was signed ahead.
func TestPresignedGet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ask := "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+"/?"+ask, nil)
	if err != nil {
		t.Fatal(err)
	}
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	who := aws.Credentials{AccessKeyID: b.acme.AccessKeyID, SecretAccessKey: b.acme.SecretAccessKey}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), who, r, nothing, ServiceSTS, region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil); err != nil {
		t.Fatal(err)
	}
	if got := send(t, r); got.status != 200 || !strings.Contains(got.body, ":user/admin</Arn>") {
		t.Errorf("%d %s", got.status, got.body)
	}
}
