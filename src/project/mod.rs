//! What a project is: checked values, and the resources it is made of, in the order it goes up.

pub mod config;
pub mod detect;
mod place;
mod procfile;
mod resources;
mod service;
mod spec;
pub mod storage;
pub mod template;

pub use self::{
    resources::{host_resources, project_resources, release},
    service::DataService,
    spec::{Launch, ProjectSpec},
    storage::{Storage, StorageKey},
};
