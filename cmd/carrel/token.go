package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam/policy"
	"github.com/carrel-dev/carrel/iam/token"
	"github.com/carrel-dev/carrel/internal/client"
)

// newToken is a bearer token as the node shows it, once.
type newToken struct {
	ID        string    `json:"id"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func (a *app) tokenCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "token",
		Aliases: []string{"tokens"},
		Short:   "Make, narrow and look at bearer tokens for plain HTTP clients",
		Example: "  carrel token create --scope scope.json > token",
	}, a.tokenCreate(), a.tokenNarrow(), a.tokenInspect(), a.tokenProof())
}

func (a *app) tokenCreate() *cobra.Command {
	var scope, audience, bind string
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "create --scope FILE",
		Short: "Make a token that stands for whoever asks, within a scope",
		Long: `Make a bearer token: what it may do is what the caller may do and the scope, a
policy, allows. It is sent in the header Authorization, after "Bearer ". It ends
after 15 minutes, or --ttl, and never after the session it was made with.

A token that lives for more than an hour has to be bound to a client's key, with
--bind: it is then sent after "DPoP ", with a proof of possession in each request.
The file holds an Ed25519 key in PEM; only its public half leaves this machine.

The token is shown this once, on standard output.`,
		Example: `  carrel token create --scope scope.json > token
  carrel token create --scope scope.json --audience carrel --ttl 5m
  carrel token create --scope scope.json --ttl 24h --bind client.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if scope == "" {
				return usageError("give --scope with the file of a policy: what the token may do at most")
			}
			text, err := scopeOf(scope)
			if err != nil {
				return err
			}
			body := map[string]any{"scope": text, "audience": audience}
			if c.Flags().Changed("ttl") {
				if ttl < time.Second {
					return usageError("--ttl %s: a token lives for 1 s at least", ttl)
				}
				body["ttlSeconds"] = int64(ttl / time.Second)
			}
			if bind != "" {
				key, err := publicKey(bind)
				if err != nil {
					return err
				}
				body["holder"] = base64.RawURLEncoding.EncodeToString(key)
			}
			var made newToken
			if err := a.do(c.Context(), client.Request{Method: http.MethodPost, Path: "/v1/tokens", Body: body}, &made); err != nil {
				return err
			}
			if a.output == outputJSON {
				return writeJSON(a.stdout, made)
			}
			a.say("Token %s is good until %s. It is shown this once.", made.ID, made.ExpiresAt.Local().Format(time.RFC3339))
			_, err = fmt.Fprintln(a.stdout, made.Token)
			return flushed(err)
		},
	}
	c.Flags().StringVar(&scope, "scope", "", "file with a policy that has to allow what is asked with the token")
	c.Flags().StringVar(&audience, "audience", "lambda", "the API that takes it: lambda or carrel")
	c.Flags().DurationVar(&ttl, "ttl", token.DefaultBearerLife, "how long it lives")
	c.Flags().StringVar(&bind, "bind", "", "PEM file with the Ed25519 key of the client that alone may use it")
	return c
}

// scopeOf reads a session policy and refuses one that the node would refuse.
func scopeOf(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usageError("the scope: %v", err)
	}
	if len(text) > token.MaxCapBytes {
		return "", usageError("the scope has %d bytes; at most %d go into a token", len(text), token.MaxCapBytes)
	}
	var refused *policy.Error
	if _, _, err := policy.Parse(policy.Session, text); errors.As(err, &refused) {
		return "", &failure{Code: "MalformedPolicyDocument", Message: sentence(file + ": " + refused.Path + ": " + refused.Message), Remedy: refused.Remedy, ExitCode: exitUsage}
	} else if err != nil {
		return "", usageError("%s: %v", file, err)
	}
	return string(text), nil
}

// publicKey gives the public half of the key in a file.
func publicKey(file string) (ed25519.PublicKey, error) {
	block, err := pemOf(file)
	if err != nil {
		return nil, err
	}
	if key, err := x509.ParsePKIXPublicKey(block); err == nil {
		if public, ok := key.(ed25519.PublicKey); ok {
			return public, nil
		}
	}
	private, err := privateKeyOf(file, block)
	if err != nil {
		return nil, err
	}
	return private.Public().(ed25519.PublicKey), nil
}

// pemOf gives the first block of a PEM file; nil if it has none.
func pemOf(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError("the key: %v", err)
	}
	if block, _ := pem.Decode(text); block != nil {
		return block.Bytes, nil
	}
	return nil, nil
}

func privateKeyOf(file string, block []byte) (ed25519.PrivateKey, error) {
	if key, err := x509.ParsePKCS8PrivateKey(block); err == nil {
		if private, ok := key.(ed25519.PrivateKey); ok {
			return private, nil
		}
	}
	return nil, &failure{Code: "BadKey", Message: file + " holds no Ed25519 key in PEM that will do.", Remedy: "Make one with openssl genpkey -algorithm ed25519 -out client.pem.", ExitCode: exitUsage}
}

// bearerFrom reads a token from standard input: an argument would be seen by
// everybody on the machine.
func (a *app) bearerFrom() (*token.BearerToken, error) {
	text, err := io.ReadAll(io.LimitReader(a.stdin, token.MaxText+1))
	if err != nil {
		return nil, usageError("the token: %v", err)
	}
	t, err := token.ParseBearer(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, usageError("standard input is no bearer token: it begins with carrel_bt1_")
	}
	return t, nil
}

func (a *app) tokenNarrow() *cobra.Command {
	var scope string
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "narrow [--scope FILE] [--ttl D]",
		Short: "Make a token that may do less of one that is read from standard input",
		Long: `Append to a token a policy that has to allow as well, an earlier end, or both.
No node is asked, and the narrower token cannot be widened again. It is ended
with the one that it was made of.`,
		Example: "  carrel token narrow --scope read.json --ttl 1m < token > narrower",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var narrower token.Cap
			if scope != "" {
				text, err := scopeOf(scope)
				if err != nil {
					return err
				}
				narrower.Policy = text
			}
			if c.Flags().Changed("ttl") {
				narrower.NotAfter = time.Now().Add(ttl)
			}
			if narrower == (token.Cap{}) {
				return usageError("give --scope, --ttl or both: there is nothing to narrow by")
			}
			t, err := a.bearerFrom()
			if err != nil {
				return err
			}
			if t, err = t.Narrow(narrower); err != nil {
				return usageError("%s", fault.From("", err).Text())
			}
			_, err = fmt.Fprintln(a.stdout, t.Text())
			return flushed(err)
		},
	}
	c.Flags().StringVar(&scope, "scope", "", "file with a policy that has to allow as well")
	c.Flags().DurationVar(&ttl, "ttl", 0, "how long from now the narrower token lives at most")
	return c
}

// capView is a cap as it is shown.
type capView struct {
	Policy   json.RawMessage `json:"policy,omitempty"`
	NotAfter *time.Time      `json:"notAfter,omitempty"`
}

func (a *app) tokenInspect() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect",
		Short: "Show what holders appended to a token that is read from standard input",
		Long: `Show the policies and ends that were appended to a token. Its root, with whom it
stands for, is sealed: only a node can read it, and tell whether it is genuine.`,
		Example: "  carrel token inspect < token",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			t, err := a.bearerFrom()
			if err != nil {
				return err
			}
			caps := []capView{}
			for _, c := range t.Caps() {
				var v capView
				if json.Valid([]byte(c.Policy)) {
					v.Policy = json.RawMessage(c.Policy)
				}
				if !c.NotAfter.IsZero() {
					v.NotAfter = &c.NotAfter
				}
				caps = append(caps, v)
			}
			return a.print(map[string]any{"caps": caps}, func(w io.Writer) {
				row(w, "CAP", "NOT AFTER", "POLICY")
				for i, c := range caps {
					end := ""
					if c.NotAfter != nil {
						end = c.NotAfter.Local().Format(time.RFC3339)
					}
					row(w, i+1, end, string(c.Policy))
				}
			})
		},
	}
}

func (a *app) sessionCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "session",
		Aliases: []string{"sessions"},
		Short:   "End sessions and tokens before their time",
		Example: "  carrel session revoke CBTAQ3JZ5Y4W2M6N7P8R",
	}, a.sessionRevoke())
}

func (a *app) sessionRevoke() *cobra.Command {
	var tenant, reason string
	c := &cobra.Command{
		Use:   "revoke WHAT",
		Short: "End sessions and tokens, and what was made with them",
		Long: `End, on every node within seconds:

  the id of a session or token   that one
  the id of an access key        all that was made with it
  the ARN of a role or user      all of it that was made until now
  '*'                            all of the account that was made until now

New ones may be made: take the permission to make them away first.`,
		Example: `  carrel session revoke CBTAQ3JZ5Y4W2M6N7P8R --reason 'it was in a log'
  carrel session revoke '*' --tenant acme`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			body := map[string]any{"what": args[0]}
			if tenant != "" {
				body["tenant"] = tenant
			}
			if reason != "" {
				body["reason"] = reason
			}
			var done struct {
				Done bool `json:"done"`
			}
			if err := a.do(c.Context(), client.Request{Method: http.MethodPost, Path: "/v1/sessions/revoke", Body: body}, &done); err != nil {
				return err
			}
			if a.output == outputJSON {
				return writeJSON(a.stdout, done)
			}
			a.say("Ended.")
			return nil
		},
	}
	c.Flags().StringVar(&tenant, "tenant", "", "name of the tenant whose sessions they are, for operators")
	c.Flags().StringVar(&reason, "reason", "", "why; kept with the revocation")
	return c
}
