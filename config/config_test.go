package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateRefusesWithRemedy(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"reachable without TLS": {func(c *Config) { c.Listen = "0.0.0.0:9600" }, "--insecure-http"},
		"all interfaces":        {func(c *Config) { c.Listen = ":9600" }, "--insecure-http"},
		"other host":            {func(c *Config) { c.Listen = "example.com:9600" }, "--insecure-http"},
		"no port":               {func(c *Config) { c.Listen = "127.0.0.1" }, "HOST:PORT"},
		"half of TLS":           {func(c *Config) { c.TLSCert = "c.pem" }, "go together"},
		"metrics for all":       {func(c *Config) { c.MetricsListen = "0.0.0.0:1" }, "loopback"},
		"region":                {func(c *Config) { c.Region = "mars" }, "us-east-1"},
		"sync":                  {func(c *Config) { c.JournalSync = "never" }, "always"},
		"workers":               {func(c *Config) { c.BlankWorkers = 9; c.MaxWorkers = 3 }, "at least 1"},
		"no blank kernels":      {func(c *Config) { c.BlankKernels = 0 }, "--blank-kernels"},
		"no wall":               {func(c *Config) { c.MinWall = "instance" }, "process or kernel"},
		"two runtimes":          {func(c *Config) { c.Runsc, c.OCIRuntime = "runsc", "runc" }, "exclude each other"},
		"log level":             {func(c *Config) { c.LogLevel = "loud" }, "debug"},
		"no address":            {func(c *Config) { c.DialAllow = []string{"10.0.0.0/8", "idp.local"} }, "idp.local"},
		"all addresses":         {func(c *Config) { c.DialAllow = []string{"0.0.0.0/0"} }, "every address"},
		"no folder":             {func(c *Config) { c.DataDir = "" }, "--data"},
	} {
		c := Default()
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that says %q", name, err, tt.want)
		}
	}
	for name, change := range map[string]func(*Config){
		"reachable with TLS":     func(c *Config) { c.Listen, c.TLSCert, c.TLSKey = ":9600", "c", "k" },
		"reachable, accepted":    func(c *Config) { c.Listen, c.InsecureHTTP = ":9600", true },
		"loopback of version 6":  func(c *Config) { c.Listen = "[::1]:9600" },
		"loopback by name":       func(c *Config) { c.Listen = "localhost:9600" },
		"another loopback of v4": func(c *Config) { c.Listen = "127.9.9.9:9600" },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: refused: %v", name, err)
		}
	}
}

func TestClientPrefersTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	file := "AWS_ACCESS_KEY_ID=AKIAFILE\nAWS_SECRET_ACCESS_KEY='s3cret'\nAWS_REGION=eu-west-1\nAWS_ENDPOINT_URL=http://127.0.0.1:1\n# comment=x\n"
	if err := os.WriteFile(filepath.Join(dir, OperatorFile), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	c, err := ClientFrom(none, dir)
	if err != nil || c.AccessKeyID != "AKIAFILE" || c.SecretKey != "s3cret" || c.Region != "eu-west-1" || c.Endpoint != "http://127.0.0.1:1" {
		t.Errorf("from the file: %+v, %v", c, err)
	}
	env := map[string]string{"AWS_ACCESS_KEY_ID": "AKIAENV", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://h"}
	c, err = ClientFrom(func(n string) string { return env[n] }, dir)
	if err != nil || c.AccessKeyID != "AKIAENV" || c.Region != "us-east-1" {
		t.Errorf("from the environment: %+v, %v", c, err)
	}
	if _, err := ClientFrom(none, t.TempDir()); err == nil || !strings.Contains(err.Error(), "--data") {
		t.Errorf("from nowhere: %v, want an error that says what to give", err)
	}
}
