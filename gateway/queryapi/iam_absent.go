package queryapi

import (
	"github.com/carrel-dev/carrel/fault"
	"github.com/carrel-dev/carrel/iam"
)

// What users can have on AWS and not here. Clients look for it before they
// delete a user, so that lists of it are served, and are empty.

type absentInput struct {
	optionalUserInput
	pageInput
}

func (rq *request) onAbsent(in *absentInput) (target, error) { return rq.onUserOrCaller(&in.UserName) }

// absent is a list of what no user has.
func absent(name string, empty any) operation {
	return served(name, (*request).onAbsent, func(*request, iam.Grant, *absentInput) (any, error) { return empty, nil })
}

type mfaInput struct {
	AssignmentStatus string `enum:"Assigned,Unassigned,Any"`
	pageInput
}

type nothing struct{}

func absentOperations() []operation {
	return []operation{
		absent("ListSSHPublicKeys", struct {
			SSHPublicKeys []nothing
			page
		}{SSHPublicKeys: []nothing{}}),
		absent("ListSigningCertificates", struct {
			Certificates []nothing
			page
		}{Certificates: []nothing{}}),
		absent("ListMFADevices", struct {
			MFADevices []nothing
			page
		}{MFADevices: []nothing{}}),
		absent("ListServiceSpecificCredentials", struct {
			ServiceSpecificCredentials []nothing
			page
		}{ServiceSpecificCredentials: []nothing{}}),
		served("ListVirtualMFADevices", onAccount[mfaInput], func(*request, iam.Grant, *mfaInput) (any, error) {
			return struct {
				VirtualMFADevices []nothing
				page
			}{VirtualMFADevices: []nothing{}}, nil
		}),
		served("ListAccountAliases", onAccount[pageInput], func(*request, iam.Grant, *pageInput) (any, error) {
			return struct {
				AccountAliases []nothing
				page
			}{AccountAliases: []nothing{}}, nil
		}),
		served("GetLoginProfile", onUserOrCaller, noLogin),
		served("DeleteLoginProfile", onUserOrCaller, noLogin),
	}
}

func noLogin(_ *request, _ iam.Grant, in *optionalUserInput) (any, error) {
	return nil, fault.New("queryapi", fault.NotFound, "Login Profile for User %s cannot be found.", in.UserName)
}
