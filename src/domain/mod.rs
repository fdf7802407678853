//! Ground floor: values that have been checked. Knows nothing but itself and serde.

pub mod acl;
pub mod address;
pub mod backup;
pub mod command;
pub mod env;
pub mod fault;
pub mod files;
pub mod git;
pub mod hostname;
pub mod layout;
pub mod name;
pub mod port;
pub mod release;
pub mod runtime;
pub mod secret;
pub mod shared_dir;
pub mod size;
pub mod sql_name;
pub mod veil;
pub mod version;
