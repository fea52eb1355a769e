use crate::authz::Look;

/// Files that are looked at again and again.
pub(super) struct Watch {
    look: Box<dyn Fn() -> Look + Send>,
    /// How they looked when they were last read.
    taken: Option<Look>,
    last: Option<Look>,
}

impl Watch {
    pub(super) fn new(look: impl Fn() -> Look + Send + 'static, taken: Option<Look>) -> Self {
        Self { look: Box::new(look), taken, last: None }
    }

    /// Whether they have changed since they were read, and stood still from the last look to this one.
    pub(super) fn changed(&mut self) -> bool {
        let look = Some((self.look)());
        let changed = look != self.taken && look == self.last;
        self.last = look;
        if changed {
            self.taken = look;
        }
        changed
    }
}
