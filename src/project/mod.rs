//! What a project is: checked values, and the resources it is made of, in the order it goes up.

pub mod builder;
pub mod config;
pub mod database;
pub mod detect;
pub mod example;
pub mod fit;
pub mod fpm;
pub mod framework;
pub mod front;
mod health;
pub mod limits;
mod phase;
mod place;
pub mod process;
mod procfile;
pub mod rails;
mod recipe;
pub mod redis;
mod resources;
mod runs;
pub mod schedule;
mod service;
mod spec;
pub mod storage;
pub mod template;
pub mod toolchain;

pub use self::{
    limits::Limits,
    phase::{Phase, Ran},
    rails::Rails,
    recipe::{Migration, Recipe},
    redis::Redis,
    resources::{HostFront, env, host_resources, project_resources, release},
    runs::sandbox,
    service::DataService,
    spec::{Injected, Launch, ProjectSpec, Stage, Stand},
    storage::{Storage, StorageKey},
};
