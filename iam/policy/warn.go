package policy

// warn finds the pitfalls of a valid policy.
func warn(*Document, []spelling) []Warning { return nil }
