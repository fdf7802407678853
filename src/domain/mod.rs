//! Ground floor: values that have been checked. Knows nothing but itself and serde.

pub mod fault;
