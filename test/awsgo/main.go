// Command awsgo is an unmodified function of AWS's own library for Go.
package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Name string `json:"name"`
	Do   string `json:"do"`
}

func handle(ctx context.Context, e event) (any, error) {
	switch e.Do {
	case "fail":
		return nil, errors.New("it failed")
	case "panic":
		panic("it panicked")
	case "sleep":
		<-ctx.Done()
		time.Sleep(time.Minute)
	case "stream":
		return strings.NewReader("a piece, and another"), nil
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	fmt.Println("greeting", e.Name)
	return map[string]any{
		"hello": e.Name, "arn": lc.InvokedFunctionArn, "id": lc.AwsRequestID, "function": lambdacontext.FunctionName,
		"memory": lambdacontext.MemoryLimitInMB, "left": time.Until(deadline) > 0,
	}, nil
}

func main() { lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM()) }
