package policy

import "strings"

func (p *parser) principals(s *Statement, e elements, path string) *Error {
	if p.doc.Kind.attached() {
		for _, name := range [...]string{"Principal", "NotPrincipal"} {
			if e[name] != nil {
				return refuse(path+"."+name, "Remove it; the policy is about whom it is attached to.", "%s has no %s.", p.doc.Kind, name)
			}
		}
		return nil
	}
	n, at, not, err := e.one(path, "Principal")
	if err != nil {
		return err
	}
	if not && p.doc.Kind != Resource {
		return refuse(at, "Use Principal, with a condition on aws:PrincipalArn.", "%s has no NotPrincipal.", p.doc.Kind)
	}
	if not && s.Effect == Allow {
		return refuse(at, "Use Deny, or Principal with a condition on aws:PrincipalArn.", "NotPrincipal cannot allow: that would be everybody else in the world.")
	}
	s.NotPrincipal, p.here().principal = not, at
	if p.foreign && n.kind == textNode && n.text != "*" {
		n = &node{kind: objectNode, members: []member{{name: "AWS", value: *n}}}
	}
	s.Principals, err = parsePrincipals(n, at)
	return err
}

func parsePrincipals(n *node, path string) (*Principals, *Error) {
	out := &Principals{}
	if n.kind == textNode && n.text == "*" {
		out.Any = true
		return out, nil
	}
	if n.kind != objectNode || len(n.members) == 0 {
		return nil, refuse(path, `Write "*", or an object with AWS, Service or Federated.`, "this names no principal.")
	}
	readers := map[string]func(*Principals, string) *problem{
		"AWS": (*Principals).aws, "Service": (*Principals).service, "Federated": (*Principals).federated,
	}
	for i := range n.members {
		m := &n.members[i]
		read := readers[m.name]
		if read == nil {
			return nil, refuse(path+step(m.name), "Use AWS, Service or Federated.", "there are no principals of the type %q.", m.name)
		}
		if err := texts(&m.value, path+step(m.name), func(text, path string) *Error {
			if p := read(out, text); p != nil {
				return p.at(path)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// IsAccount tells whether a text is an account id: twelve digits.
func IsAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (out *Principals) aws(text string) *problem {
	if text == "*" {
		out.Any = true
		return nil
	}
	if IsAccount(text) {
		out.AWS = append(out.AWS, "arn:aws:iam::"+text+":root")
		return nil
	}
	if strings.ContainsAny(text, "*?") {
		return problemf(`Write the whole ARN, or "*" with a condition on aws:PrincipalArn.`, "the principal %q has a wildcard.", text)
	}
	if !isPrincipal(text) {
		return problemf("Write an account's 12 digits, or the ARN of an account's root, a user, a role, a role's session or a federated user.", "%q is not a principal.", text)
	}
	out.AWS = append(out.AWS, text)
	return nil
}

// isPrincipal tells whether a text is the ARN of what can be a principal.
func isPrincipal(text string) bool {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[1] == "" || parts[3] != "" || !IsAccount(parts[4]) {
		return false
	}
	for _, r := range text {
		if r <= ' ' || r > '~' {
			return false
		}
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	role, session, _ := strings.Cut(name, "/")
	switch parts[2] + ":" + kind {
	case "iam:root":
		return parts[5] == "root"
	case "iam:user", "iam:role":
		return name != "" && !strings.HasSuffix(name, "/")
	case "sts:federated-user":
		return name != ""
	case "sts:assumed-role":
		return role != "" && session != "" && !strings.Contains(session, "/")
	}
	return false
}

func (out *Principals) service(text string) *problem {
	if !isHost(text) {
		return problemf("Write its host, as in lambda.amazonaws.com.", "%q is not a service.", text)
	}
	out.Service = append(out.Service, text)
	return nil
}

// isHost tells whether a text is a host name of at least two labels.
func isHost(text string) bool {
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if label == "" || strings.IndexFunc(label, func(r rune) bool { return !isWord(r) }) >= 0 {
			return false
		}
	}
	return len(labels) > 1
}

func (out *Principals) federated(text string) *problem {
	if !isHost(text) && !isProvider(text) {
		return problemf("Write the ARN of an OIDC or SAML provider, or the provider's host.", "%q is not an identity provider.", text)
	}
	out.Federated = append(out.Federated, text)
	return nil
}

// isProvider tells whether a text is the ARN of an identity provider.
func isProvider(text string) bool {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) < 6 || parts[0] != "arn" || parts[1] == "" || parts[2] != "iam" || parts[3] != "" || !IsAccount(parts[4]) {
		return false
	}
	kind, name, _ := strings.Cut(parts[5], "/")
	return (kind == "oidc-provider" || kind == "saml-provider") && name != "" &&
		strings.IndexFunc(name, func(r rune) bool { return !isWord(r) && !strings.ContainsRune("._/:%", r) }) < 0
}
