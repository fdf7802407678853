//! The laws of resources, for every kind that can stand alone, with a crash at every effect.

use super::{Any, State};
use crate::system::{Host, Tripwire, fake::World};

#[allow(clippy::unwrap_used)]
pub(super) fn check(sample: &Any) {
    check_on(&[], sample);
}

#[allow(clippy::unwrap_used)]
fn check_on(ground: &[Any], sample: &Any) {
    for crash in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(dir.path());
        for below in ground {
            below.apply(&mut world.host(Tripwire::default())).unwrap();
        }
        let host = |wire| world.host(wire);
        let look = |host: &Host| sample.observe(host).unwrap();
        let before = look(&host(Tripwire::default())).1;
        assert_eq!(before, sample.nothing(), "{}: nothing is there at first", sample.id());

        let wire = Tripwire::at(crash);
        let died = sample.apply(&mut host(wire)).is_err();
        let mut alive = host(Tripwire::default());
        for time in ["once", "twice"] {
            sample.apply(&mut alive).unwrap();
            assert_eq!(
                look(&alive).0,
                State::Satisfied,
                "{}: applied {time} after crash {crash}",
                sample.id()
            );
        }

        let undone = sample.restore(&before, &mut host(Tripwire::at(crash))).is_err();
        for time in ["once", "twice"] {
            sample.restore(&before, &mut alive).unwrap();
            assert_eq!(look(&alive).1, before, "{}: restored {time} after crash {crash}", sample.id());
        }
        if !died && !undone {
            return;
        }
    }
}

#[test]
fn apply_twice_is_apply_once_and_restore_puts_back_what_was_found_wherever_it_died() {
    for sample in Any::samples().0 {
        check(&sample);
    }
}

#[test]
#[allow(clippy::unwrap_used)]
fn the_laws_hold_for_a_redis_user_on_a_server_that_lets_hostkit_in() {
    let (server, user) = redis_user();
    check_on(&[server], &user);
}

/// A server and a user of it.
fn redis_user() -> (Any, Any) {
    use super::{RedisServer, RedisUser, Resource};
    let server = RedisServer::sample().expect("it stands alone");
    let user = RedisUser {
        user: "blog".into(),
        door: server.door.clone(),
        rule: ["~*", "resetchannels", "&blog:*", "+@all", "-@dangerous"].map(str::to_owned).into(),
        passwords: vec!["ab".repeat(32)],
    };
    (server.into(), user.into())
}

/// Temporary entries that nobody will rename any more.
#[allow(clippy::unwrap_used)]
fn leftovers(at: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(leftovers(&path));
        } else if path.to_string_lossy().ends_with(".hostkit-new") {
            found.push(path);
        }
    }
    found
}

#[test]
#[allow(clippy::unwrap_used)]
fn restoring_what_is_there_removes_what_a_dead_process_left_beside_it() {
    for sample in Any::samples().0 {
        for crash in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let world = World::new(dir.path());
            let mut alive = world.host(Tripwire::default());
            sample.apply(&mut alive).unwrap();
            let found = sample.observe(&alive).unwrap().1;
            let died = sample.apply(&mut world.host(Tripwire::at(crash))).is_err();
            sample.restore(&found, &mut alive).unwrap();
            assert_eq!(sample.observe(&alive).unwrap().1, found, "{}", sample.id());
            assert_eq!(leftovers(dir.path()), [] as [std::path::PathBuf; 0], "{}", sample.id());
            if !died {
                break;
            }
        }
    }
}

#[test]
fn observing_crosses_no_effect() {
    let dir = tempfile::tempdir().expect("a directory");
    let world = World::new(dir.path());
    for sample in Any::samples().0 {
        let wire = Tripwire::default();
        sample.observe(&world.host(wire.clone())).expect("observed");
        assert_eq!(wire.crossed(), 0, "{}", sample.id());
    }
}

/// A key needs its bucket, a store its unit file, a user of a Redis server the server, a
/// release a staged tree, a service and a timer their unit files, what is left alone a process, and what changes places needs two of it:
/// the crash matrix of `operation` covers them in their surroundings.
#[test]
fn only_these_kinds_cannot_stand_alone() {
    let dependent = [
        "database-swap",
        "bucket-key",
        "bucket-swap",
        "object-store",
        "certificate",
        "redis-user",
        "redis-swap",
        "release",
        "tree-swap",
        "service",
        "timer",
        "standing",
    ];
    assert_eq!(Any::samples().1, dependent);
}
