package attack

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// requests are the attacks on identity and by requests.
func requests() []Attack {
	return []Attack{
		{ID: "A17", Title: "a captured request sent late, or with any part changed", Defence: "the signature over everything that steers, and its window", run: altered},
		{ID: "A34", Title: "bodies that are deep, large, doubled or compressed", Defence: "bounded decoders", run: bodies},
		{ID: "A37", Title: "lines in the log that look like others'", Defence: "one JSON value for what is printed, with the tenant set by the node", run: forged},
		{ID: "A108", Title: "the operator reads a tenant's code, logs and results", Defence: "policies: operators do not act in tenants' accounts but by break-glass", run: operatorReads},
	}
}

func altered(ctx context.Context, t *try) error {
	body := command(doEcho, "x")
	m := invocation(tool, body)
	m.path += "?Qualifier=%24LATEST"
	m.header = map[string]string{"X-Amz-Log-Type": "Tail"}
	q, err := t.request(ctx, t.A, m)
	if err != nil {
		return err
	}
	captured := string(Wire(q, body))
	out, err := t.exchange(ctx, []byte(captured))
	t.twin(err == nil && slices.Equal(statuses(out), []string{"200"}), "the request as it was signed: %v %s", err, cut(out))
	for what, change := range map[string][2]string{
		"function": {"/" + tool + "/", "/" + tool + "2/"}, "operation": {"/invocations", "/versions"}, "query": {"%24LATEST", "1"}, "query added": {"%24LATEST", "%24LATEST&X=1"},
		"query dropped": {"?Qualifier=%24LATEST", ""}, "body": {body, command(doEcho, "y")}, "log type": {"Log-Type: Tail", "Log-Type: None"},
		"date": {"X-Amz-Date: 2", "X-Amz-Date: 3"}, "region": {"/lambda/", "/x/lambda/"}, "service": {"/lambda/aws4", "/carrel/aws4"},
		"key": {"Credential=" + t.A.AccessKeyID, "Credential=" + t.B.AccessKeyID}, "no signature": {"Authorization: ", "X-Was: "},
		"fewer signed headers": {"x-amz-date;", ""}, "header added": {"\r\nX-Amz-Date", "\r\nX-Amz-Invocation-Type: Event\r\nX-Amz-Date"},
	} {
		changed := strings.Replace(captured, change[0], change[1], 1)
		if changed == captured {
			continue // such a part is not in it
		}
		out, err := t.exchange(ctx, []byte(changed))
		got := statuses(out)
		t.holds(err == nil && len(got) == 1 && got[0] == "403", "403 "+what, "%s changed: %v %s", what, err, cut(out))
	}
	for _, by := range []time.Duration{-6 * time.Minute, 6 * time.Minute, -365 * 24 * time.Hour} {
		late := invocation(tool, body)
		late.at = time.Now().Add(by)
		t.refused(fmt.Sprintf("a signature of %s from now", by), t.call(ctx, t.A, late))
	}
	return nil
}

func bodies(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: harmless()})
	if err != nil {
		return err
	}
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	configuration := message{method: "PUT", path: onFunction(f) + "/configuration"}
	create := message{method: "POST", path: "/2015-03-31/functions"}
	call := invocation(f, "")
	with := func(m message, body string) message { m.body = body; return m }
	gzip := with(call, "\x1f\x8b")
	gzip.header = map[string]string{"Content-Encoding": "gzip"}
	for what, m := range map[string]message{
		"a deep object":            with(configuration, `{"Environment":`+strings.Repeat(`{"Variables":`, 150_000)+`1`+strings.Repeat("}", 150_001)),
		"a deep unknown member":    with(configuration, `{"x":`+nested(400_000)+`}`),
		"what is not closed":       with(configuration, strings.Repeat(`{"a":[`, 150_000)),
		"two values for one name":  with(create, `{"FunctionName":"a34-x","FunctionName":"a34-y","Role":"`+t.A.Role+`"}`),
		"a deep body of /v1":       {method: "POST", path: "/v1/tenants", service: adminAPI, body: `{"tenantId":` + nested(400_000) + `}`},
		"a compressed event":       gzip,
		"an event over the limit":  with(call, `"`+strings.Repeat("x", 6_291_456)+`"`),
		"an event without its end": with(call, strings.Repeat("[", 3_000_000)),
		"a number of a million":    with(configuration, `{"Timeout":`+strings.Repeat("9", 900_000)+`}`),
	} {
		began := time.Now()
		t.refused(what, t.call(ctx, t.A, m))
		if took := time.Since(began); took > 10*time.Second {
			t.breach("%s took %s", what, took)
		}
	}
	o := t.invoke(ctx, t.A, f, nested(50))
	t.twin(o.good(), "an ordinary event: %s", o)
	return nil
}

func forged(ctx context.Context, t *try) error {
	f, err := t.own(ctx, t.A, function{code: toolModule()})
	if err != nil {
		return err
	}
	if o := t.invoke(ctx, t.A, f, command(doLines, "")); !o.good() {
		return fmt.Errorf("printing: %s", o)
	}
	log, seen := t.logged(ctx, t.A, f, "plain line")
	t.twin(seen, "what was printed is in the log: %s", cut(log))
	t.holds(!strings.ContainsAny(log, "\x1b\x00\x07"), "control characters are escaped", "the log has control characters: %q", cut(log))
	t.holds(!strings.Contains(log, `{"accountId":"000000000000"`), "a forged record is text", "the log has a forged record: %q", cut(log))
	return nil
}

func operatorReads(ctx context.Context, t *try) error {
	arn := fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", t.cfg.Region, t.A.Account, tool)
	for _, m := range []message{
		invocation(arn, "1"), {method: "GET", path: onFunction(arn)}, {method: "GET", path: onFunction(arn) + "/configuration"},
		{method: "PUT", path: onFunction(arn) + "/code", body: `{"ZipFile":"AGFzbQEAAAA="}`}, {method: "DELETE", path: onFunction(arn)},
		{method: "GET", path: "/v1/functions/" + tool + "/logs", service: adminAPI},
	} {
		t.refused(m.method+" "+m.path+" by the operator", t.call(ctx, t.Operator, m))
	}
	t.works(ctx, t.A, tool)
	return nil
}
