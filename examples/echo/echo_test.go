package echo

import (
	"context"
	"testing"

	"github.com/tetratelabs/wazero"
)

func TestModuleIsValid(t *testing.T) {
	r := wazero.NewRuntime(context.Background())
	defer r.Close(context.Background())
	m, err := r.CompileModule(context.Background(), Module())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.ExportedFunctions()["handle"].ResultTypes()) != 1 {
		t.Error("handle does not have one result")
	}
}
