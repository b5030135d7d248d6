//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/carrel-dev/carrel/test/noderun"
)

// resign is how old a signature may become; nodes take them for 5 minutes.
const resign = 2 * time.Minute

// target is what requests are sent to, and what has to come back.
type target struct {
	Function                  string
	AccessKeyID, Secret, Zone string
	Body                      string
	// Expect is the reply's body; of Prefix only the beginning is compared.
	Expect string
	Prefix bool
}

// noderunTenant adds to a tenant what the bench needs of it.
type noderunTenant noderun.Tenant

func (t noderunTenant) target(function, body, expect string) target {
	return target{Function: function, AccessKeyID: t.AccessKeyID, Secret: t.SecretAccessKey, Zone: t.Region, Body: body, Expect: expect}
}

// request gives the bytes of a signed Invoke. The same bytes go to all
// servers, so that each of them has as much to read.
func (t *target) request(address string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+address+"/2015-03-31/functions/"+t.Function+"/invocations", bytes.NewReader([]byte(t.Body)))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(t.Body))
	keys := aws.Credentials{AccessKeyID: t.AccessKeyID, SecretAccessKey: t.Secret}
	if err := v4.NewSigner().SignHTTP(context.Background(), keys, r, hex.EncodeToString(sum[:]), "lambda", t.Zone, time.Now()); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.URL.Path, address, len(t.Body))
	if err := r.Header.Write(&out); err != nil {
		return nil, err
	}
	fmt.Fprintf(&out, "\r\n%s", t.Body)
	return out.Bytes(), nil
}

// accepts compares a reply's body with what was expected.
func (t *target) accepts(body []byte) error {
	if t.Prefix && bytes.HasPrefix(body, []byte(t.Expect)) || string(body) == t.Expect {
		return nil
	}
	return fmt.Errorf("%s answered %.200q, want %.200q", t.Function, body, t.Expect)
}
