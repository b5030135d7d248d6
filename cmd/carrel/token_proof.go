package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/iam/token"
)

func (a *app) tokenProof() *cobra.Command {
	var p proofFor
	c := &cobra.Command{
		Use:   "proof --key FILE --nonce NONCE [-X METHOD] [-H HEADER ...] [--data FILE] URL",
		Short: "Make the headers of one request with a token that is bound to a key",
		Long: `Read a token that is bound to a client's key from standard input, and print the
headers Authorization and DPoP of one request with it, for curl -H @-. No node is
asked. The proof is good for this method, URL, body, Content-Type and these x-amz-*
headers, once, and for a minute or two: name them here exactly as they are sent.

The nonce is in the header DPoP-Nonce of the node's answers; an answer to a request
without one has it, too.`,
		Example: `  carrel token proof --key client.pem --nonce "$nonce" -X POST -H 'Content-Type: application/json' \
    --data event.json "$url" < token |
    curl -H @- -H 'Content-Type: application/json' --data-binary @event.json "$url"`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if p.key == "" {
				return usageError("give --key with the file of the key that the token is bound to")
			}
			t, err := a.bearerFrom()
			if err != nil {
				return err
			}
			made, err := p.proof(args[0], t.Text())
			if err != nil {
				return err
			}
			headers := map[string]string{"authorization": token.ProofScheme + " " + t.Text(), "dpop": made}
			if a.output == outputJSON {
				return writeJSON(a.stdout, headers)
			}
			_, err = fmt.Fprintf(a.stdout, "Authorization: %s\nDPoP: %s\n", headers["authorization"], headers["dpop"])
			return flushed(err)
		},
	}
	c.Flags().StringVar(&p.key, "key", "", "PEM file with the Ed25519 key that the token is bound to")
	c.Flags().StringVar(&p.nonce, "nonce", "", "what the node said last in its header DPoP-Nonce")
	c.Flags().StringVarP(&p.method, "request", "X", http.MethodGet, "method of the request")
	c.Flags().StringArrayVarP(&p.headers, "header", "H", nil, "header of the request, as 'Content-Type: application/json'")
	c.Flags().StringVar(&p.data, "data", "", "file with the body of the request")
	return c
}

// proofFor is the request that a proof is for.
type proofFor struct {
	key, nonce, method, data string
	headers                  []string
}

func (p *proofFor) proof(url, text string) (string, error) {
	block, err := pemOf(p.key)
	if err != nil {
		return "", err
	}
	key, err := privateKeyOf(p.key, block)
	if err != nil {
		return "", err
	}
	var body []byte
	if p.data != "" {
		if body, err = os.ReadFile(p.data); err != nil {
			return "", usageError("the body: %v", err)
		}
	}
	r, err := http.NewRequest(p.method, url, nil)
	if err != nil || r.URL.Host == "" {
		return "", usageError("%q with method %q is no request: give a URL such as http://127.0.0.1:9600/v1/usage", url, p.method)
	}
	for _, header := range p.headers {
		name, value, found := strings.Cut(header, ":")
		if !found || strings.TrimSpace(name) != name || name == "" {
			return "", usageError("%q is no header: write it as 'Name: value'", header)
		}
		r.Header.Add(name, strings.TrimSpace(value))
	}
	return token.Prove(key, r, body, token.ProofInput{Token: text, Nonce: p.nonce, Now: time.Now()}), nil
}
