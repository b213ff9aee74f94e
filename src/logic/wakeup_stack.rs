//! `WakeupStack`: which loops hold the wake-up descriptor of the process, and what each replaced.
//!
//! Plain data. Signals go to the last holder. A holder remembers the descriptor that it replaced, unless
//! that was another loop's, because that loop may be closed and the number reused.

/// A loop that holds the descriptor, or did when another took it.
struct Holder {
    /// The loop's identity.
    owner: usize,
    /// The descriptor of its own pipe.
    number: i32,
    /// The descriptor that it found, if that was the program's.
    foreign: Option<i32>,
}

/// The loops that hold the descriptor; signals go to the last one.
pub(crate) struct WakeupStack(Vec<Holder>);

/// What to set when a holder leaves that was the last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heir {
    /// The descriptor that signals go to now; `None` for no descriptor.
    pub(crate) number: Option<i32>,
    /// The descriptor that the leaving holder had set.
    pub(crate) left: i32,
}

impl WakeupStack {
    /// An empty stack.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes that `owner` has set its descriptor `number` where `found` was set.
    pub(crate) fn hold(&mut self, owner: usize, number: i32, found: i32) {
        let last = self.0.last();
        if found == number && last.is_some_and(|last| last.owner == owner) {
            return;
        }
        self.leave(owner);
        let known = found == number || self.0.iter().any(|holder| holder.number == found);
        self.0.push(Holder {
            owner,
            number,
            foreign: (!known).then_some(found),
        });
    }

    /// Removes `owner`, and returns what has to be set if it was the last holder.
    pub(crate) fn leave(&mut self, owner: usize) -> Option<Heir> {
        let place = self.0.iter().position(|holder| holder.owner == owner)?;
        let gone = self.0.remove(place);
        if let Some(next) = self.0.get_mut(place) {
            // The next holder restores what the removed one would have restored.
            next.foreign = next.foreign.or(gone.foreign);
            return None;
        }
        Some(Heir {
            number: gone
                .foreign
                .or_else(|| self.0.last().map(|last| last.number)),
            left: gone.number,
        })
    }

    /// Removes every holder, in a forked child. True if there was one.
    pub(crate) fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_had_set_comes_back() {
        let mut stack = WakeupStack::new();
        stack.hold(1, 10, 7);
        stack.hold(1, 10, 10);
        assert_eq!(
            stack.leave(1),
            Some(Heir {
                number: Some(7),
                left: 10
            })
        );
        assert_eq!(stack.leave(1), None);
    }

    #[test]
    fn a_number_of_another_holder_is_not_remembered() {
        let mut stack = WakeupStack::new();
        stack.hold(1, 10, -1);
        stack.hold(2, 20, 10);
        assert_eq!(stack.leave(1), None);
        assert_eq!(
            stack.leave(2),
            Some(Heir {
                number: Some(-1),
                left: 20
            })
        );
    }

    #[test]
    fn the_holder_below_is_the_heir() {
        let mut stack = WakeupStack::new();
        stack.hold(1, 10, -1);
        stack.hold(2, 20, 10);
        assert_eq!(
            stack.leave(2),
            Some(Heir {
                number: Some(10),
                left: 20
            })
        );
        assert!(stack.forget());
        assert!(!stack.forget());
    }
}
