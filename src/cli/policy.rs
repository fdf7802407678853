//! Who may call what. The only place that decides.

use crate::{
    domain::{
        fault::{Code, Fault},
        name::ProjectName,
    },
    system::invoker::Caller,
};

/// Who may call a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Anybody: it tells nothing about the host.
    Anyone,
    /// Root, and the project it is about.
    Owner,
    /// Root.
    Root,
}

/// Who is calling, as the registry knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// Root, or an administrator who could become root without HostKit.
    Root,
    /// A project's own account, through `sudo`.
    Project(ProjectName),
    /// Anybody else.
    Stranger,
}

/// The right to run one command. Made only by [`authorize`].
#[derive(Debug)]
#[must_use = "asking is not yet having run"]
pub(crate) struct Permit(());

/// Who the caller is. `accounts` are the projects with the numbers of their accounts; number and name
/// must both be the registry's, because a number may have been given to somebody else.
pub(crate) fn identify(caller: &Caller, accounts: &[(ProjectName, u32)]) -> Principal {
    if let Some((name, _)) = accounts.iter().find(|(n, uid)| *uid == caller.uid && n.as_str() == caller.name)
    {
        return Principal::Project(name.clone());
    }
    if caller.privileged && caller.administrator { Principal::Root } else { Principal::Stranger }
}

/// Whether `principal` may call the command with this policy about this project.
pub(crate) fn authorize(
    principal: &Principal,
    policy: Policy,
    project: Option<&ProjectName>,
    caller: &Caller,
) -> Result<Permit, Fault> {
    let allowed = match (policy, principal) {
        (Policy::Anyone, _) | (_, Principal::Root) => true,
        (Policy::Owner, Principal::Project(own)) => project == Some(own),
        (Policy::Owner | Policy::Root, _) => false,
    };
    if allowed {
        return Ok(Permit(()));
    }
    let name = &caller.name;
    Err(match principal {
        Principal::Project(own) => {
            Fault::new(Code::NotPermitted, format!("`{name}` may act only on the project `{own}`"))
        }
        _ if !caller.privileged => Fault::new(Code::NotPermitted, "this needs root").next("sudo hostkit …"),
        _ => Fault::new(
            Code::NotPermitted,
            format!("`{name}` is neither root, an administrator nor a project"),
        ),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn caller(uid: u32, name: &str, privileged: bool, administrator: bool) -> Caller {
        Caller { uid, gid: uid, name: name.into(), privileged, administrator }
    }

    #[test]
    fn every_command_answers_every_principal_as_its_policy_says() {
        let blog: ProjectName = "blog".parse().unwrap();
        let shop: ProjectName = "shop".parse().unwrap();
        let me = caller(2000, "blog", true, false);
        for (name, policy, _) in super::super::catalogue() {
            for (principal, about, expected) in [
                (Principal::Root, Some(&blog), true),
                (Principal::Root, None, true),
                (Principal::Project(blog.clone()), Some(&blog), policy != Policy::Root),
                (Principal::Project(blog.clone()), Some(&shop), policy == Policy::Anyone),
                (Principal::Project(blog.clone()), None, policy == Policy::Anyone),
                (Principal::Stranger, Some(&blog), policy == Policy::Anyone),
                (Principal::Stranger, None, policy == Policy::Anyone),
            ] {
                let permit = authorize(&principal, policy, about, &me);
                assert_eq!(permit.is_ok(), expected, "{name}: {principal:?} about {about:?}");
            }
        }
    }

    #[test]
    fn only_what_writes_nothing_and_tells_nothing_of_the_host_is_for_anybody() {
        let anybody =
            super::super::catalogue().into_iter().filter(|(_, policy, _)| *policy == Policy::Anyone);
        assert_eq!(anybody.map(|(name, ..)| name).collect::<Vec<_>>(), ["detect", "completions", "help"]);
    }

    #[test]
    fn a_number_that_was_given_to_somebody_else_is_nobody() {
        let accounts = [("blog".parse().unwrap(), 2000)];
        assert_eq!(
            identify(&caller(2000, "blog", true, false), &accounts),
            Principal::Project("blog".parse().unwrap())
        );
        assert_eq!(identify(&caller(2000, "eve", true, false), &accounts), Principal::Stranger);
        assert_eq!(identify(&caller(2001, "blog", true, false), &accounts), Principal::Stranger);
    }

    #[test]
    fn a_project_in_the_sudo_group_is_still_only_a_project() {
        let accounts = [("blog".parse().unwrap(), 2000)];
        let blog = caller(2000, "blog", true, true);
        assert_eq!(identify(&blog, &accounts), Principal::Project("blog".parse().unwrap()));
        assert_eq!(identify(&caller(1000, "ana", true, true), &accounts), Principal::Root);
        assert_eq!(identify(&caller(1000, "ana", false, true), &accounts), Principal::Stranger);
    }
}
