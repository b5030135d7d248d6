package attack

import "slices"

// Catalogue gives all attacks in the order of their ids.
func Catalogue() []Attack {
	all := slices.Concat(names(), requests(), callers(), modules(), fairness(), elsewhere())
	slices.SortFunc(all, func(a, b Attack) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID)
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

const (
	host     = "needs the host: "
	notBuilt = "not built: "
)

// elsewhere are the attacks that cannot be made from a tenant's place, or on
// what is not there.
func elsewhere() []Attack {
	return []Attack{
		{ID: "A09", Title: "one tenant's ciphertext put into another's record", Elsewhere: host + "store/sealed TestSwappedValuesAreRefused"},
		{ID: "A10", Title: "an earlier record put back", Elsewhere: host + "store/sealed TestRolledBackValuesAreRefused"},
		{ID: "A39", Title: "requests forged by another site's page", Elsewhere: notBuilt + "the console"},
		{ID: "A38", Title: "stored scripts in names", Elsewhere: notBuilt + "the console"},
		{ID: "A40", Title: "another's domain claimed", Elsewhere: notBuilt + "custom domains"},
		{ID: "A43", Title: "redirects of what functions fetch", Elsewhere: notBuilt + "egress of functions"},
		{ID: "A44", Title: "webhooks into the node's own network", Elsewhere: notBuilt + "webhooks"},
		{ID: "A45", Title: "port scans and tunnels from functions", Elsewhere: notBuilt + "egress of functions"},
		{ID: "A27", Title: "certificates of a false peer", Elsewhere: notBuilt + "joined nodes"},
		{ID: "A28", Title: "old or false attestation", Elsewhere: notBuilt + "attestation"},
		{ID: "A50", Title: "an artefact exchanged between deploy and start", Elsewhere: host + "store/blob TestExchangedAndAlteredFilesAreRefused"},
		{ID: "A64", Title: "a worker that dies takes others along", Elsewhere: host + "sandbox/process TestWorkersAreNotBelieved"},
		{ID: "A73", Title: "cgroups that are missing", Elsewhere: host + "sandbox/jail/cgroup TestAbsentIsReportedNotHidden"},
		{ID: "A80", Title: "what a crash leaves running", Elsewhere: host + "sandbox/jail/spawner TestKilledAtAnyMoment"},
		{ID: "A97", Title: "an audit log cut or changed", Elsewhere: notBuilt + "proofs of the audit log"},
		{ID: "A98", Title: "an act without a record", Elsewhere: host + "control TestJournalFirst"},
		{ID: "A104", Title: "acknowledged writes lost by a kill", Elsewhere: host + "store/jetstream TestAcknowledgedWritesSurviveKill"},
		{ID: "A105", Title: "flipped bits in the store's files", Elsewhere: host + "store/sealed TestDamagedFilesNeverGiveWrongValues"},
		{ID: "A109", Title: "starting in a weak mode", Elsewhere: host + "config TestValidateRefusesWithRemedy"},
		{ID: "A110", Title: "an exchanged release", Elsewhere: notBuilt + "signed releases"},
	}
}
