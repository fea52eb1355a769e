use zeroize::Zeroizing;

use super::{Class, Password, SPECIAL};

/// How many characters a generated password has: the most that Zenlayer takes.
const LENGTH: usize = 16;

/// The characters that generated passwords are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet(Vec<u8>);

/// Characters that people take for one another.
const CONFUSABLE: &str = "0O1lI";

impl Alphabet {
    /// All that Zenlayer takes, or without those that look alike (`0 O 1 l I`).
    pub fn new(without_confusable: bool) -> Self {
        let all = ('a'..='z').chain('A'..='Z').chain('0'..='9').chain(SPECIAL.chars());
        let kept = all.filter(|c| !(without_confusable && CONFUSABLE.contains(*c)));
        Self(kept.map(|c| u8::try_from(c).expect("the rule is of ASCII")).collect())
    }
}

impl Password {
    /// A password of 16 characters from the operating system's randomness, each as likely as any other that the
    /// alphabet allows and that has every class of characters.
    pub fn generate(alphabet: &Alphabet) -> Result<Self, getrandom::Error> {
        loop {
            let text = draw(alphabet)?;
            let has = |class: &Class| text.chars().any(|c| class.has(c));
            // Thrown away as a whole: to mend one would make some likelier than others.
            if Class::ALL.iter().all(has) {
                return Ok(Self((*text).clone().into()));
            }
        }
    }
}

/// Each character as likely as the others.
fn draw(Alphabet(alphabet): &Alphabet) -> Result<Zeroizing<String>, getrandom::Error> {
    // Bytes from here on would make the first characters likelier.
    let fair = u8::MAX - u8::MAX % u8::try_from(alphabet.len()).expect("fewer than 256 characters");
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    let mut bytes = Zeroizing::new([0_u8; 2 * LENGTH]);
    loop {
        getrandom::fill(bytes.as_mut_slice())?;
        for byte in bytes.iter().filter(|byte| **byte < fair) {
            text.push(alphabet[usize::from(*byte) % alphabet.len()].into());
            if text.len() == LENGTH {
                return Ok(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// The 99.999th percentile of chi-squared with so many degrees of freedom (Wilson and Hilferty).
    fn bound(freedom: usize) -> f64 {
        let n = freedom as f64;
        n * (1.0 - 2.0 / (9.0 * n) + 4.265 * (2.0 / (9.0 * n)).sqrt()).powi(3)
    }

    #[test]
    fn a_hundred_thousand_keep_the_rule_are_fair_and_never_the_same() {
        for without_confusable in [false, true] {
            let alphabet = Alphabet::new(without_confusable);
            assert_eq!(alphabet.0.len(), if without_confusable { 67 } else { 72 });
            let mut seen = HashSet::new();
            let mut counts: HashMap<char, u64> = HashMap::new();
            let mut places = vec![HashMap::<char, u64>::new(); LENGTH];
            for _ in 0..100_000 {
                let password = Password::generate(&alphabet).expect("the system has randomness");
                let text = password.expose();
                assert!(Password::parse(text.to_owned()).is_ok(), "{text}");
                assert_eq!(text.len(), LENGTH);
                assert!(!without_confusable || !text.contains(|c| CONFUSABLE.contains(c)), "{text}");
                for (place, c) in text.chars().enumerate() {
                    *counts.entry(c).or_default() += 1;
                    *places[place].entry(c).or_default() += 1;
                }
                assert!(seen.insert(text.to_owned()), "twice: {text}");
            }
            assert_eq!(counts.len(), alphabet.0.len(), "every character is used");
            // Given that each class appears, the characters of one class are alike; a class that has fewer is a bit
            // likelier than its share.
            for class in Class::ALL {
                let of_class: Vec<u64> =
                    counts.iter().filter(|(c, _)| class.has(**c)).map(|(_, n)| *n).collect();
                let expected = of_class.iter().sum::<u64>() as f64 / of_class.len() as f64;
                let chi: f64 = of_class.iter().map(|n| (*n as f64 - expected).powi(2) / expected).sum();
                assert!(chi < bound(of_class.len() - 1), "{class:?}: {chi}");
            }
            // And no place prefers any character.
            for (c, all) in &counts {
                let expected = *all as f64 / LENGTH as f64;
                let chi: f64 =
                    places.iter().map(|place| (place[c] as f64 - expected).powi(2) / expected).sum();
                assert!(chi < bound(LENGTH - 1) * 1.2, "{c}: {chi}");
            }
        }
    }
}
