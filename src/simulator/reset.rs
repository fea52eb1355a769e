//! ResetInstancePassword.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::instances::Instances;
use super::parameters::Parameters;
use super::refusal::{Code, Refusal};

const SPECIAL: &str = "~!@$^*-_=+";

/// Checks all there is to check and, where `apply`, changes the password.
pub fn reset(
    instances: &mut Instances,
    parameters: &Parameters,
    busy: Duration,
    apply: bool,
    now: Timestamp,
) -> Result<(), Refusal> {
    let id = parameters.required_text("instanceId")?;
    let password = parameters.required_text("password")?;
    if !is_good(password) {
        return Err(Code::PasswordMalformed.refuse("The password does not meet the rule."));
    }
    let Some(instance) = instances.get_mut(id) else {
        return Err(Code::InstanceNotFound.refuse(format!("The instance `{id}` is not found.")));
    };
    match instance.text("status") {
        Some("RUNNING") | None => {}
        Some("RECYCLE" | "RECYCLING") => {
            return Err(Code::InstanceRecycled.refuse("The instance is in the recycle bin."));
        }
        Some(_) => return Err(Code::InstanceNotRunning.refuse("The instance is not running.")),
    }
    if instance.is_busy(now) {
        return Err(Code::InstanceInOperation.refuse("Another operation is running on the instance."));
    }
    if instance.fields().get("enableAgent") == Some(&Value::Bool(false)) {
        // The vendor documents no code for it.
        return Err(Code::InvalidValue.refuse("The instance has no guest agent."));
    }
    if apply {
        instance.reset(password, now.checked_add(busy).unwrap_or(Timestamp::MAX));
    }
    Ok(())
}

/// The strictest reading of the vendor's rule: 8-16 of these characters only, at least one of each class.
fn is_good(password: &str) -> bool {
    let special = |c: char| SPECIAL.contains(c);
    (8..=16).contains(&password.chars().count())
        && password.chars().all(|c| c.is_ascii_alphanumeric() || special(c))
        && password.contains(|c: char| c.is_ascii_lowercase())
        && password.contains(|c: char| c.is_ascii_uppercase())
        && password.contains(|c: char| c.is_ascii_digit())
        && password.contains(special)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_rule_takes_only_its_own_characters_and_needs_every_class() {
        for (password, good) in [
            ("Abcd~1234", true),
            ("Zz9~!@$^*-_=+aB0", true),
            ("Aa1!aaa", false),
            ("Aa1!aaaa", true),
            ("Aa1!aaaaaaaaaaaaa", false),
            ("aa1!aaaa", false),
            ("AA1!AAAA", false),
            ("Aaa!aaaa", false),
            ("Aa11aaaa", false),
            ("Aa1!aaa`", false),
            ("Aa1!aaa#", false),
            ("Aa1!aaa ", false),
            ("Aa1!aaaé", false),
        ] {
            assert_eq!(is_good(password), good, "{password}");
        }
    }
}
