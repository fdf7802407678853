//! New credentials, while daemons that they have nothing to do with are down.

use super::scene::{Act, Scene, deployed, env_set, injected, provisioned, secret_set, stored};
use crate::{
    operation::{database, redis, session::Session, storage},
    system::fake::World,
};

/// A rotation by its daemon.
const ALL: [(&str, Act); 3] = [
    ("postgres", |s| database::rotate(s, &"blog".parse()?, false).map(drop)),
    ("redis", |s| redis::rotate(s, &"blog".parse()?, false).map(drop)),
    ("storage", |s| storage::rotate(s, &"blog".parse()?, false).map(drop)),
];

/// Takes down every daemon but this one.
fn alone(world: &World, daemon: &str) {
    let mut state = world.state();
    state.postgres.as_mut().unwrap().down = daemon != "postgres";
    state.objects.down = daemon != "storage";
    if daemon != "redis" {
        state.redis.clear();
    }
}

/// Whether an old credential of `blog` may still be used.
fn is_retiring(session: &mut Session<'_>) -> anyhow::Result<bool> {
    let spec = session.project(&"blog".parse()?)?.spec;
    Ok(spec.database.is_some_and(|d| d.retiring.is_some())
        || spec.redis.is_some_and(|r| r.retiring.is_some())
        || spec.storage.is_some_and(|s| s.retiring.is_some()))
}

#[test]
fn a_rotation_needs_no_daemon_but_its_own() {
    for (daemon, rotate) in ALL {
        let scene = Scene::after(&[stored, provisioned]);
        alone(&scene.world, daemon);
        scene.act(rotate).unwrap_or_else(|error| panic!("{daemon}: {error:#}"));
        assert!(!scene.act(is_retiring).unwrap(), "{daemon}: nothing runs that knew the old one");
    }
}

#[test]
fn the_command_that_starts_the_process_anew_lets_the_old_one_go_with_that_daemon_alone() {
    for (daemon, rotate) in ALL {
        for (ground, anew) in [(provisioned as Act, env_set as Act), (secret_set, injected)] {
            let scene = Scene::after(&[stored, provisioned, deployed, ground, rotate]);
            assert!(scene.act(is_retiring).unwrap(), "{daemon}");
            alone(&scene.world, daemon);
            scene.act(anew).unwrap_or_else(|error| panic!("{daemon}: {error:#}"));
            assert!(!scene.act(is_retiring).unwrap(), "{daemon}");
        }
    }
}
