use std::fmt;
use std::str::FromStr;

use crate::domain::{NameFault, TeamName};

/// The gateway's own, among the teams: a name that no team can have.
const GATEWAY: &str = "@gateway";

/// Whose resets or records are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Records of the gateway itself, and of callers without a team: `Team::"@gateway"`. It has no resets.
    Gateway,
    Team(TeamName),
}

impl Owner {
    /// As policies name it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Gateway => GATEWAY,
            Self::Team(team) => team.as_str(),
        }
    }
}

impl FromStr for Owner {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        if text == GATEWAY { Ok(Self::Gateway) } else { text.parse().map(Self::Team) }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
