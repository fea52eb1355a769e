//! Replicas are interchangeable: quotas hold across them, any answers for any, and losing one loses nothing.

mod balanced;
mod cluster;
mod converge;
mod cut_off;
mod gone;
mod restart;
