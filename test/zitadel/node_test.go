package zitadel

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/carrel-dev/carrel/test/noderun"
)

// node starts the real binary, which takes the provider's certificate for an
// authority's, with further flags.
func node(t *testing.T, binaries string, s *httptest.Server, flags ...string) *noderun.Node {
	t.Helper()
	dir := t.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	n, err := noderun.Start(t.Context(), noderun.Options{
		Bin: binaries, Data: filepath.Join(dir, "node"), Args: append(flags, "--drop-root=false"), Env: []string{"SSL_CERT_FILE=" + roots},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Kill)
	return n
}

// commandLine is the stock AWS command line, as somebody; nobody if the tenant
// has no key.
func commandLine(n *noderun.Node, who noderun.Tenant, token string, args ...string) (string, error) {
	c := exec.Command("aws", append([]string{"--endpoint-url", n.Endpoint, "--region", "us-east-1", "--output", "json"}, args...)...)
	c.Env = append(os.Environ(), "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1",
		"AWS_ACCESS_KEY_ID="+who.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+who.SecretAccessKey, "AWS_SESSION_TOKEN="+token)
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestA15RolesOfARealNodeForTokensOfARealProvider has a person log in at the
// provider, and takes on a role of a tenant with the token, through the binary
// and with the stock command line.
func TestA15RolesOfARealNodeForTokensOfARealProvider(t *testing.T) {
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("the AWS command line is not installed")
	}
	binaries := t.TempDir()
	build := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", binaries+string(filepath.Separator), "./cmd/carrel", "./cmd/carrel-worker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := provider(t)
	token := login(t, s)
	issuer := strings.TrimPrefix(s.URL, "https://")

	for _, inside := range []bool{true, false} {
		var flags []string
		if inside {
			flags = []string{"--dial-allow", "127.0.0.1"}
		}
		n := node(t, binaries, s, flags...)
		acme, err := n.CreateTenant("acme")
		if err != nil {
			t.Fatal(err)
		}
		must := func(args ...string) string {
			t.Helper()
			out, err := commandLine(n, acme, "", args...)
			if err != nil {
				t.Fatalf("aws %v: %v: %s", args, err, out)
			}
			return out
		}
		must("iam", "create-open-id-connect-provider", "--url", s.URL, "--client-id-list", client)
		arn := "arn:aws:iam::" + acme.AccountID + ":oidc-provider/" + issuer
		for role, subject := range map[string]string{"mine": "id2", "others": "id1"} {
			must("iam", "create-role", "--role-name", role, "--assume-role-policy-document", fmt.Sprintf(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity","Principal":{"Federated":%q},`+
					`"Condition":{"StringEquals":{"%s:aud":%q,"%[2]s:sub":%[4]q}}}]}`, arn, issuer, client, subject))
		}
		assume := func(role, token string) (string, error) {
			return commandLine(n, noderun.Tenant{}, "", "sts", "assume-role-with-web-identity", "--no-sign-request",
				"--role-arn", "arn:aws:iam::"+acme.AccountID+":role/"+role, "--role-session-name", "test", "--web-identity-token", token)
		}
		out, err := assume("mine", token)
		if !inside {
			if err == nil || !strings.Contains(out, "IDPCommunicationError") {
				t.Errorf("a node that may not connect to the provider: %v %s", err, out)
			}
			continue
		}
		if err != nil {
			t.Fatalf("the role is not given: %v %s", err, out)
		}
		var made struct {
			Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string }
		}
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatal(err)
		}
		session := noderun.Tenant{AccessKeyID: made.Credentials.AccessKeyId, SecretAccessKey: made.Credentials.SecretAccessKey}
		if out, err := commandLine(n, session, made.Credentials.SessionToken, "sts", "get-caller-identity"); err != nil || !strings.Contains(out, ":assumed-role/mine/test") {
			t.Errorf("the session: %v %s", err, out)
		}
		if out, err := commandLine(n, session, made.Credentials.SessionToken, "iam", "list-users"); err == nil || !strings.Contains(out, "AccessDenied") {
			t.Errorf("the session does what its role may not: %v %s", err, out)
		}
		if out, err := assume("others", token); err == nil || !strings.Contains(out, "AccessDenied") {
			t.Errorf("a role of another subject: %v %s", err, out)
		}
		if out, err := assume("mine", token[:len(token)-8]+"AAAAAAAA"); err == nil || !strings.Contains(out, "InvalidIdentityToken") {
			t.Errorf("an altered token: %v %s", err, out)
		}
	}
}
