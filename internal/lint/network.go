package lint

import "go/ast"

// dialers says which packages may connect to somewhere, and why. Everything
// else asks package internal/dial, which looks at where a name leads to before
// it connects, so that nobody makes the node speak to what is inside its own
// network.
var dialers = map[string]string{
	"internal/dial":   "it is the dialer that checks addresses",
	"attack":          "a red team connects to the node that its user names",
	"internal/client": "the commands connect to the node that their user names",
	"test/noderun":    "it asks the node that it started whether it is ready",
	"test/bench":      "it loads the nodes that it started",
	"test/versitygw":  "it passes requests on to the node that it started",
}

// connecting are the names by which Go's library connects to somewhere.
var connecting = map[string][]string{
	"net":               {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialUnix", "DialIP", "Dialer", "LookupHost", "LookupIP", "LookupAddr", "DefaultResolver"},
	"net/http":          {"Client", "DefaultClient", "Transport", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
	"crypto/tls":        {"Dial", "DialWithDialer", "Dialer"},
	"net/http/httputil": {"ReverseProxy", "NewSingleHostReverseProxy"},
	"net/rpc":           {"Dial", "DialHTTP", "DialHTTPPath"},
	"net/smtp":          {"Dial", "SendMail"},
}

func checkNetwork(r report, f *File) {
	if _, allowed := dialers[f.Folder()]; allowed || f.Test() {
		return
	}
	for path, spec := range imports(f) {
		names, found := connecting[path]
		if !found {
			continue
		}
		if spec.Name != nil && spec.Name.Name == "." {
			r.at(spec.Pos(), "%s is imported with a dot: what connects could not be seen", path)
			continue
		}
		forbidden := map[string]bool{}
		for _, name := range names {
			forbidden[name] = true
		}
		eachSelector(f, localName(spec, path), func(sel *ast.SelectorExpr) {
			if forbidden[sel.Sel.Name] {
				r.at(sel.Pos(), "%s.%s connects without a look at the address: use package internal/dial, or say in the table of package lint why not", path, sel.Sel.Name)
			}
		})
	}
}

// localName is what a file calls a package of Go's library.
func localName(spec *ast.ImportSpec, path string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}
