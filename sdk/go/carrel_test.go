package carrel

import "testing"

func TestContextReadsThePlatformsObject(t *testing.T) {
	c := &Context{raw: []byte(`{"awsRequestId":"1-2","functionName":"hello","functionVersion":"$LATEST",` +
		`"invokedFunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:hello","memoryLimitInMB":128,"tenantId":"acme","deadlineMs":1700000000123}`)}
	if c.RequestID() != "1-2" || c.TenantID() != "acme" || c.FunctionName() != "hello" || c.FunctionVersion() != "$LATEST" ||
		c.MemoryLimitMB() != 128 || c.DeadlineMS() != 1700000000123 || c.ClientContext() != "" ||
		c.FunctionARN() != "arn:aws:lambda:us-east-1:123456789012:function:hello" {
		t.Errorf("a member of %s was read wrongly", c.JSON())
	}
	empty := &Context{raw: []byte("{}")}
	if empty.RequestID() != "" || empty.MemoryLimitMB() != 0 {
		t.Error("the empty context has members")
	}
}
