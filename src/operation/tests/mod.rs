//! Whole operations over fakes: what they do, and what is left when they die.

mod attack;
mod backup;
mod build;
mod crash;
mod damaged;
mod database;
mod environment;
mod front;
mod handover;
mod last_backup;
mod offsite;
mod php;
mod redis;
mod refusal;
mod release_phase;
mod retreat;
mod rotation;
mod scene;
mod secrets;
mod storage;
mod story;
