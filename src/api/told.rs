use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::domain::{NewPassword, Password};

/// A password made up here, on its way to who asked for it: in the first answer to the POST, and in no other.
#[derive(Debug)]
pub(super) struct Told(Arc<Password>);

impl Told {
    /// None: the caller knows it, or has it sealed.
    pub(super) fn of(password: &NewPassword) -> Option<Self> {
        match password {
            NewPassword::Generated(password) => Some(Self(password.clone())),
            NewPassword::Typed(_) | NewPassword::Sealed(..) => None,
        }
    }
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(password) = self;
        serializer.serialize_str(password.expose())
    }
}
