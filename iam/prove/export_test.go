package prove

// UniversalOf judges policies for the tenants of another grammar.
func (p *Prover) UniversalOf(g Grammar, end bool, q Question) Report {
	return p.universal(population{grammar: g, end: end}, q)
}

// Some lists the first ids of a grammar.
func (g Grammar) Some(n int) []string { return g.some(n) }
