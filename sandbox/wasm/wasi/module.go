package wasi

import (
	"context"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Function is one function of the host module.
type Function struct {
	// Name is the import name.
	Name string
	// Params and Results are its type.
	Params, Results []api.ValueType
	// Cost is the fuel that a call takes, apart from the bytes it moves.
	Cost uint64

	run func(*State, []uint64) Errno
}

// Costs in units of fuel, at the rate of compiled C: about 0.3 ns each.
const (
	costCall = 500  // crossing into the host and back
	costPath = 2000 // walking a path
)

// Functions lists every function of preview 1.
func Functions() []Function {
	return append(descriptorFunctions(), pathAndOtherFunctions()...)
}

func descriptorFunctions() []Function {
	return []Function{
		fn("fd_advise", "iIIi", costCall, fdKnown),
		fn("fd_allocate", "iII", costCall, fdAllocate),
		fn("fd_close", "i", costCall, fdClose),
		fn("fd_datasync", "i", costCall, fdKnown),
		fn("fd_fdstat_get", "ii", costCall, fdFdstatGet),
		fn("fd_fdstat_set_flags", "ii", costCall, fdFdstatSetFlags),
		fn("fd_fdstat_set_rights", "iII", costCall, fdFdstatSetRights),
		fn("fd_filestat_get", "ii", costCall, fdFilestatGet),
		fn("fd_filestat_set_size", "iI", costCall, fdFilestatSetSize),
		fn("fd_filestat_set_times", "iIIi", costCall, fdFilestatSetTimes),
		fn("fd_pread", "iiiIi", costCall, fdPread),
		fn("fd_prestat_get", "ii", costCall, fdPrestatGet),
		fn("fd_prestat_dir_name", "iii", costCall, fdPrestatDirName),
		fn("fd_pwrite", "iiiIi", costCall, fdPwrite),
		fn("fd_read", "iiii", costCall, fdRead),
		fn("fd_readdir", "iiiIi", costCall, fdReaddir),
		fn("fd_renumber", "ii", costCall, fdRenumber),
		fn("fd_seek", "iIii", costCall, fdSeek),
		fn("fd_sync", "i", costCall, fdKnown),
		fn("fd_tell", "ii", costCall, fdTell),
		fn("fd_write", "iiii", costCall, fdWrite),
	}
}

func pathAndOtherFunctions() []Function {
	return []Function{
		fn("args_get", "ii", costCall, argsGet),
		fn("args_sizes_get", "ii", costCall, argsSizesGet),
		fn("environ_get", "ii", costCall, environGet),
		fn("environ_sizes_get", "ii", costCall, environSizesGet),
		fn("clock_res_get", "ii", costCall, clockResGet),
		fn("clock_time_get", "iIi", costCall, clockTimeGet),
		fn("path_create_directory", "iii", costPath, pathCreateDirectory),
		fn("path_filestat_get", "iiiii", costPath, pathFilestatGet),
		fn("path_filestat_set_times", "iiiiIIi", costPath, pathFilestatSetTimes),
		fn("path_link", "iiiiiii", costCall, notSupported),
		fn("path_open", "iiiiiIIii", costPath, pathOpen),
		fn("path_readlink", "iiiiii", costPath, pathReadlink),
		fn("path_remove_directory", "iii", costPath, pathRemoveDirectory),
		fn("path_rename", "iiiiii", costPath, pathRename),
		fn("path_symlink", "iiiii", costCall, notSupported),
		fn("path_unlink_file", "iii", costPath, pathUnlinkFile),
		fn("poll_oneoff", "iiii", costCall, pollOneoff),
		{Name: "proc_exit", Params: types("i"), Cost: costCall, run: procExit},
		fn("proc_raise", "i", costCall, notBuilt),
		fn("random_get", "ii", costCall, randomGet),
		fn("sched_yield", "", costCall, schedYield),
		fn("sock_accept", "iii", costCall, notSocket),
		fn("sock_recv", "iiiiii", costCall, notSocket),
		fn("sock_send", "iiiii", costCall, notSocket),
		fn("sock_shutdown", "ii", costCall, notSocket),
	}
}

func fn(name, params string, cost uint64, run func(*State, []uint64) Errno) Function {
	return Function{name, types(params), []api.ValueType{api.ValueTypeI32}, cost, run}
}

// types reads i as i32 and I as i64.
func types(s string) []api.ValueType {
	t := make([]api.ValueType, len(s))
	for i, c := range s {
		t[i] = api.ValueTypeI32
		if c == 'I' {
			t[i] = api.ValueTypeI64
		}
	}
	return t
}

// Instantiate adds the host module to a runtime. find gives the State of the
// guest whose call a context belongs to.
func Instantiate(ctx context.Context, r wazero.Runtime, find func(context.Context) *State) error {
	b := r.NewHostModuleBuilder(ModuleName)
	for _, f := range Functions() {
		b.NewFunctionBuilder().WithGoModuleFunction(f.bind(find), f.Params, f.Results).Export(f.Name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

func (f Function) bind(find func(context.Context) *State) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		st := find(ctx)
		st.mem = View(mod)
		st.hooks.Charge(f.Cost)
		e := f.run(st, stack)
		if len(f.Results) > 0 {
			stack[0] = uint64(e)
		}
	}
}

// View gives the bytes of a guest's memory as it is now; none if it has no
// memory. It is good until the guest runs on.
func View(mod api.Module) []byte {
	m := mod.Memory()
	if m == nil {
		return nil
	}
	b, _ := m.Read(0, m.Size())
	return b
}
