package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
)

// statements is a policy of n statements that all say the same.
func statements(n int) string {
	const one = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	return `{"Version":"2012-10-17","Statement":[` + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + `]}`
}

// TestSimulationsAreBounded asks what one request can ask for at most: what
// it costs, and how large the answer is, is bounded by more than the request's
// size.
func TestSimulationsAreBounded(t *testing.T) {
	t.Parallel()
	s, acme := stsWorld(t)
	ask := func(policies, statementsEach, actions int) (Page[SimulateResult], time.Duration, error) {
		in := SimulateInput{PageInput: PageInput{MaxItems: 1000}}
		for range policies {
			in.Policies = append(in.Policies, statements(statementsEach))
		}
		for i := range actions {
			in.Actions = append(in.Actions, fmt.Sprintf("s3:Get%d", i))
		}
		begun := time.Now()
		p, err := s.SimulateCustomPolicy(ctx, acme.on(ActionSimulateCustomPolicy, IdentityAccountResource(acme.account)), in)
		return p, time.Since(begun), err
	}
	if _, took, err := ask(24, 420, 1000); !fault.Is(err, fault.Invalid) {
		t.Errorf("10,080 statements a thousand times: %v after %s", err, took)
	}
	var conditions []string
	for i := range 500 {
		conditions = append(conditions, fmt.Sprintf(`"aws:RequestTag/%d":"x"`, i))
	}
	long := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{` + strings.Join(conditions, ",") + `}}}}`
	values := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":["` + strings.Repeat(`*x","`, 3000) + `x"]}}}}`
	for name, in := range map[string]SimulateInput{
		"keys that are missing": {Policies: []string{long}, Actions: strings.Fields(strings.Repeat("s3:Get ", 1000))},
		"values that are compared": {
			Policies: strings.Split(strings.Repeat(values+"\n", 20)+values, "\n"), Actions: []string{"s3:Get"},
			Keys: []iam.Key{{Name: "aws:tagkeys", Values: strings.Fields(strings.Repeat("yyyyyyyy ", 1000)), Multiple: true}},
		},
	} {
		_, err := s.SimulateCustomPolicy(ctx, acme.on(ActionSimulateCustomPolicy, IdentityAccountResource(acme.account)), in)
		if wants(t, err, fault.Invalid, "InvalidInput"); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("%s: %v", name, err)
		}
		in.Actions, in.Policies = in.Actions[:1], in.Policies[:1]
		_, err = s.SimulateCustomPolicy(ctx, acme.on(ActionSimulateCustomPolicy, IdentityAccountResource(acme.account)), in)
		acme.must(err)
	}
	p, took, err := ask(1, 420, 200)
	acme.must(err)
	if n := len(p.Items[0].Matched); n > maxSimulatedMatches {
		t.Errorf("%d statements in an answer", n)
	}
	if took > 2*time.Second {
		t.Errorf("%d answers took %s", len(p.Items), took)
	}
	p, _, err = ask(24, 420, 1)
	acme.must(err)
	if len(p.Items) != 1 || p.Items[0].Matched[0].Start.Line != 1 {
		t.Errorf("the twin, one action on as many statements: %+v", p.Items)
	}
}
