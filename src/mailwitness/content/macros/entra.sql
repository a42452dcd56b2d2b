-- Which table a sign-in of Microsoft Graph belongs to. signInEventTypes says it (v1.0 since 2024); older exports lack it: then a
-- sign-in without a user is that of a service principal, and one that is not interactive says so.
CREATE MACRO mw_sign_in_table(kinds, interactive, person, principal) AS CASE
  WHEN kinds::VARCHAR ILIKE '%servicePrincipal%' OR kinds::VARCHAR ILIKE '%managedIdentity%' THEN 'AADServicePrincipalSignInLogs'
  WHEN kinds::VARCHAR ILIKE '%nonInteractiveUser%' THEN 'AADNonInteractiveUserSignInLogs'
  WHEN kinds::VARCHAR ILIKE '%interactiveUser%' THEN 'SigninLogs'
  WHEN coalesce(person, '') = '' AND coalesce(principal, '') <> '' THEN 'AADServicePrincipalSignInLogs'
  WHEN lower(coalesce(interactive, '')) = 'false' THEN 'AADNonInteractiveUserSignInLogs'
  ELSE 'SigninLogs' END;
