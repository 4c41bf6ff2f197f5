//! Reading the policy from a spec.

use crate::Policy;
use mesh_core::pipeline::Validate;

/// Whatever can be read is a policy.
impl Validate for Policy {}
