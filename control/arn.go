package control

import (
	"github.com/carrel-dev/carrel/function"
	"github.com/carrel-dev/carrel/tenant"
)

// The actions that grants for this package are made for. Those of functions
// have AWS's names.
const (
	ActionCreateFunction     = "lambda:CreateFunction"
	ActionGetFunction        = "lambda:GetFunction"
	ActionGetConfiguration   = "lambda:GetFunctionConfiguration"
	ActionUpdateCode         = "lambda:UpdateFunctionCode"
	ActionUpdateConfig       = "lambda:UpdateFunctionConfiguration"
	ActionDeleteFunction     = "lambda:DeleteFunction"
	ActionListFunctions      = "lambda:ListFunctions"
	ActionPublishVersion     = "lambda:PublishVersion"
	ActionListVersions       = "lambda:ListVersionsByFunction"
	ActionCreateAlias        = "lambda:CreateAlias"
	ActionGetAlias           = "lambda:GetAlias"
	ActionUpdateAlias        = "lambda:UpdateAlias"
	ActionDeleteAlias        = "lambda:DeleteAlias"
	ActionListAliases        = "lambda:ListAliases"
	ActionPutConcurrency     = "lambda:PutFunctionConcurrency"
	ActionGetConcurrency     = "lambda:GetFunctionConcurrency"
	ActionDeleteConcurrency  = "lambda:DeleteFunctionConcurrency"
	ActionPutRecursion       = "lambda:PutFunctionRecursionConfig"
	ActionGetRecursion       = "lambda:GetFunctionRecursionConfig"
	ActionTagResource        = "lambda:TagResource"
	ActionUntagResource      = "lambda:UntagResource"
	ActionListTags           = "lambda:ListTags"
	ActionGetAccountSettings = "lambda:GetAccountSettings"
	ActionPutEventConfig     = "lambda:PutFunctionEventInvokeConfig"
	ActionUpdateEventConfig  = "lambda:UpdateFunctionEventInvokeConfig"
	ActionGetEventConfig     = "lambda:GetFunctionEventInvokeConfig"
	ActionDeleteEventConfig  = "lambda:DeleteFunctionEventInvokeConfig"
	ActionListEventConfigs   = "lambda:ListFunctionEventInvokeConfigs"
	ActionCreateURL          = "lambda:CreateFunctionUrlConfig"
	ActionGetURL             = "lambda:GetFunctionUrlConfig"
	ActionUpdateURL          = "lambda:UpdateFunctionUrlConfig"
	ActionDeleteURL          = "lambda:DeleteFunctionUrlConfig"
	ActionListURLs           = "lambda:ListFunctionUrlConfigs"
	ActionAddPermission      = "lambda:AddPermission"
	ActionGetFunctionPolicy  = "lambda:GetPolicy"
	ActionRemovePermission   = "lambda:RemovePermission"

	ActionCreateTenant  = "carrel:CreateTenant"
	ActionListTenants   = "carrel:ListTenants"
	ActionGetTenant     = "carrel:GetTenant"
	ActionSuspendTenant = "carrel:SuspendTenant"
	ActionResumeTenant  = "carrel:ResumeTenant"
	ActionDeleteTenant  = "carrel:DeleteTenant"
	ActionSetPlan       = "carrel:SetPlan"
)

// FunctionResource is the resource that grants for operations on a function
// are made for: its ARN without a qualifier.
func (s *Service) FunctionResource(account tenant.AccountID, name function.Name) string {
	return function.ARN(s.cfg.Region, account, name, "")
}

// AccountResource is the resource of operations on all functions of an
// account: lists and settings.
func (s *Service) AccountResource(account tenant.AccountID) string {
	return function.ARN(s.cfg.Region, account, "*", "")
}

// TenantResource is the resource of operations on one tenant. Tenants belong
// to the management account.
func (s *Service) TenantResource(slug tenant.Slug) string {
	return "arn:aws:carrel:" + s.cfg.Region + ":" + string(s.Management()) + ":tenant/" + string(slug)
}

// TenantsResource is the resource of operations on all tenants.
func (s *Service) TenantsResource() string { return s.TenantResource("*") }

func userARN(account tenant.AccountID, name string) string {
	return "arn:aws:iam::" + string(account) + ":user/" + name
}

func roleARN(account tenant.AccountID, name string) string {
	return "arn:aws:iam::" + string(account) + ":role/" + name
}
