//! `TimerHeap`: deadlines in order, first in first out among equals.
//!
//! Loop thread only. A cancelled entry stays until it is due or until `compact` takes out all cancelled
//! entries; the entry that was pushed last is taken out at once, so a timer that is set and cancelled
//! again does not grow the heap.

use std::cmp::Ordering;
use std::collections::TryReserveError;

/// Cancelled entries are swept when there are more than this many of them …
const COMPACT_COUNT: usize = 100;
/// … and they make up more than one in this many of all entries.
const COMPACT_SHARE: usize = 2;
/// If this many entries, and more than one in `MANY_SHARE` of the remaining ones, were due at once,
/// the other due entries are sorted instead of taken out one by one.
const MANY: usize = 64;
/// See `MANY`.
const MANY_SHARE: usize = 16;
/// Children of a node: four keep a node's children within two cache lines.
const ARITY: usize = 4;

/// Where what is due goes.
pub(crate) trait Sink<T> {
    /// Makes room for `count` items.
    fn make_room(&mut self, count: usize) -> Result<(), TryReserveError>;
    /// Takes an item that there is room for.
    fn take(&mut self, item: T);
    /// Whether `item` is one for which `cancel` was called.
    fn is_cancelled(&self, item: &T) -> bool;
}

struct Entry<T> {
    /// The deadline, in seconds of the loop's clock; never NaN.
    when: f64,
    /// Counts pushes, so that equal deadlines keep their order.
    sequence: u64,
    /// What is taken out then.
    item: T,
}

impl<T> Entry<T> {
    #[inline]
    fn before(&self, other: &Self) -> bool {
        self.order(other).is_lt()
    }

    #[inline]
    fn order(&self, other: &Self) -> Ordering {
        self.when
            .total_cmp(&other.when)
            .then(self.sequence.cmp(&other.sequence))
    }
}

/// A heap of timers.
pub(crate) struct TimerHeap<T> {
    /// # Invariant
    /// No entry comes before its parent, which sits at `(index - 1) / ARITY`.
    entries: Vec<Entry<T>>,
    /// The sequence number of the next push.
    next: u64,
    /// How many entries are cancelled.
    cancelled: usize,
    /// Whether no entry is known to come before the one that it follows, which is so as long as timers are
    /// set in the order of their deadlines. Then what is due is the beginning, and nothing has to move up.
    in_order: bool,
}

impl<T> Default for TimerHeap<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            next: 0,
            cancelled: 0,
            in_order: true,
        }
    }
}

impl<T> TimerHeap<T> {
    /// Adds `item` at `when`; NaN counts as already due, as it does in asyncio.
    #[inline]
    pub(crate) fn push(&mut self, when: f64, item: T) -> Result<(), TryReserveError> {
        let when = if when.is_nan() {
            f64::NEG_INFINITY
        } else {
            // Of the two zeros one would come before the other.
            when + 0.0
        };
        if self.entries.len() == self.entries.capacity() {
            self.grow()?;
        }
        let follows = match self.entries.last() {
            Some(last) => (self.in_order || self.entries.len() == 1) && last.when <= when,
            None => true,
        };
        self.entries.push(Entry {
            when,
            sequence: self.next,
            item,
        });
        self.next += 1;
        self.in_order = follows;
        if !follows {
            self.rise(self.entries.len() - 1);
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self) -> Result<(), TryReserveError> {
        self.entries.try_reserve(1)
    }

    /// The earliest deadline.
    #[inline]
    pub(crate) fn first(&self) -> Option<f64> {
        self.entries.first().map(|entry| entry.when)
    }

    /// Takes out the first entry if it is due at `now`.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: f64) -> Option<T> {
        if self.entries.first()?.when > now {
            return None;
        }
        Some(self.take_first())
    }

    /// Takes out the first of at least one entry.
    #[inline]
    fn take_first(&mut self) -> T {
        self.in_order = false;
        let entry = self.entries.swap_remove(0);
        self.sink(0);
        entry.item
    }

    /// Takes out what is due at `now`, in order, and hands it to `sink`.
    ///
    /// # Errors
    /// If there is no memory for it; what is left stays in order.
    #[inline]
    pub(crate) fn drain_due(
        &mut self,
        now: f64,
        sink: &mut impl Sink<T>,
    ) -> Result<(), TryReserveError> {
        if self.in_order && self.drain_beginning(now, sink)? {
            return Ok(());
        }
        let mut taken = 0;
        while self.first().is_some_and(|first| first <= now) {
            sink.make_room(1)?;
            let Some(item) = self.pop_due(now) else { break };
            self.note_due(&item, sink);
            sink.take(item);
            taken += 1;
            if taken >= MANY && taken * MANY_SHARE > self.entries.len() {
                return self.drain_many(now, sink);
            }
        }
        Ok(())
    }

    /// Takes out what is due of entries in order; false if so few of so many are that moving the others up would
    /// cost more.
    #[inline]
    fn drain_beginning(
        &mut self,
        now: f64,
        sink: &mut impl Sink<T>,
    ) -> Result<bool, TryReserveError> {
        let due = self.entries.iter().take_while(|entry| entry.when <= now);
        let due = due.count();
        let others = self.entries.len() - due;
        if others > MANY && others > due * MANY_SHARE {
            return Ok(due == 0);
        }
        sink.make_room(due)?;
        for entry in self.entries.drain(..due) {
            if self.cancelled > 0 && sink.is_cancelled(&entry.item) {
                self.cancelled -= 1;
            }
            sink.take(entry.item);
        }
        Ok(true)
    }

    #[cold]
    fn drain_many(&mut self, now: f64, sink: &mut impl Sink<T>) -> Result<(), TryReserveError> {
        let due = |entry: &Entry<T>| entry.when <= now;
        sink.make_room(self.entries.iter().filter(|entry| due(entry)).count())?;
        let kept = self.put_last(due);
        self.entries[kept..].sort_unstable_by(Entry::order);
        if self.cancelled > 0 {
            let due = self.entries[kept..].iter();
            let cancelled = due.filter(|entry| sink.is_cancelled(&entry.item)).count();
            self.cancelled = self.cancelled.saturating_sub(cancelled);
        }
        for entry in self.entries.drain(kept..) {
            sink.take(entry.item);
        }
        self.order_all();
        Ok(())
    }

    /// Updates the count of cancelled entries for one that leaves because it is due.
    #[inline]
    fn note_due(&mut self, item: &T, sink: &impl Sink<T>) {
        if self.cancelled > 0 && sink.is_cancelled(item) {
            self.cancelled -= 1;
        }
    }

    /// Moves the entries for which `chosen` holds behind the others, and returns the number of the
    /// others. The order is lost.
    fn put_last(&mut self, chosen: impl Fn(&Entry<T>) -> bool) -> usize {
        self.in_order = false;
        let mut kept = 0;
        for index in 0..self.entries.len() {
            if !chosen(&self.entries[index]) {
                self.entries.swap(kept, index);
                kept += 1;
            }
        }
        kept
    }

    /// Takes out the first entry if `dead` holds for it; the caller releases it.
    #[inline]
    pub(crate) fn pop_dead(&mut self, dead: impl Fn(&T) -> bool) -> Option<T> {
        if self.cancelled == 0 || !dead(&self.entries.first()?.item) {
            return None;
        }
        self.cancelled -= 1;
        Some(self.take_first())
    }

    /// Notes that an entry was cancelled. Returns it if it was the one pushed last and could be
    /// taken out; the caller releases it.
    #[inline]
    pub(crate) fn cancel(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        if self.entries.last().is_some_and(|entry| is_it(&entry.item)) {
            return self.entries.pop().map(|entry| entry.item);
        }
        self.cancelled += 1;
        None
    }

    /// Whether enough entries are cancelled for `compact` to pay.
    #[inline]
    pub(crate) fn wants_compacting(&self) -> bool {
        self.cancelled > COMPACT_COUNT && self.cancelled * COMPACT_SHARE > self.entries.len()
    }

    /// Takes out every entry for which `dead` holds; the caller releases them. Does nothing if there
    /// is no memory for that.
    pub(crate) fn compact(&mut self, dead: impl Fn(&T) -> bool) -> Vec<T> {
        let mut gone = Vec::new();
        let count = self.entries.iter().filter(|entry| dead(&entry.item));
        if gone.try_reserve_exact(count.count()).is_err() {
            return gone;
        }
        let kept = self.put_last(|entry| dead(&entry.item));
        gone.extend(self.entries.drain(kept..).map(|entry| entry.item));
        self.entries.shrink_to(self.entries.len() * 2);
        self.cancelled = 0;
        self.order_all();
        gone
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.item)
    }

    /// How many entries are not cancelled.
    pub(crate) fn live(&self) -> usize {
        self.entries.len().saturating_sub(self.cancelled)
    }

    /// How many entries there are, cancelled ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Restores the invariant after entries were taken from anywhere.
    fn order_all(&mut self) {
        for index in (0..=self.entries.len() / ARITY).rev() {
            self.sink(index);
        }
    }

    fn rise(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / ARITY;
            if !self.entries[index].before(&self.entries[parent]) {
                return;
            }
            self.entries.swap(index, parent);
            index = parent;
        }
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let first = index * ARITY + 1;
            let last = (first + ARITY).min(self.entries.len());
            if first >= last {
                return;
            }
            let mut earliest = first;
            for child in first + 1..last {
                if self.entries[child].before(&self.entries[earliest]) {
                    earliest = child;
                }
            }
            if !self.entries[earliest].before(&self.entries[index]) {
                return;
            }
            self.entries.swap(index, earliest);
            index = earliest;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::TryReserveError;

    use super::{Sink, TimerHeap};

    impl<T> Sink<T> for Vec<T> {
        fn make_room(&mut self, count: usize) -> Result<(), TryReserveError> {
            self.try_reserve(count)
        }

        fn take(&mut self, item: T) {
            self.push(item);
        }

        fn is_cancelled(&self, _item: &T) -> bool {
            true
        }
    }

    fn drain(heap: &mut TimerHeap<u32>) -> Vec<u32> {
        std::iter::from_fn(|| heap.pop_due(f64::INFINITY)).collect()
    }

    #[test]
    fn timers_that_are_set_in_order_surface_in_order() {
        for out_of_order in [None, Some(0.5), Some(40.5)] {
            let mut heap = TimerHeap::default();
            for item in 0..500_u32 {
                heap.push(f64::from(item), item).unwrap();
            }
            if let Some(when) = out_of_order {
                heap.push(when, 1000).unwrap();
            }
            let mut found = Vec::new();
            for now in [-1.0, 0.0, 3.0, 60.0, 400.0] {
                heap.drain_due(now, &mut found).unwrap();
                assert!(heap.first().is_some_and(|first| first > now));
            }
            heap.push(450.5, 2000).unwrap();
            heap.drain_due(f64::INFINITY, &mut found).unwrap();
            let mut expected: Vec<_> = (0..500_u32).map(|item| (f64::from(item), item)).collect();
            expected.extend(out_of_order.map(|when| (when, 1000)));
            expected.push((450.5, 2000));
            expected.sort_by(|one, other| one.0.total_cmp(&other.0));
            let expected: Vec<_> = expected.into_iter().map(|(_, item)| item).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn entries_surface_by_deadline_and_then_by_age() {
        let mut heap = TimerHeap::default();
        let mut expected = Vec::new();
        for item in 0..1000_u32 {
            let when = f64::from(item * 7919 % 13);
            heap.push(when, item).unwrap();
            expected.push((item * 7919 % 13, item));
        }
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|(_, item)| item).collect();
        assert_eq!(drain(&mut heap), expected);
    }

    #[test]
    fn many_that_are_due_at_once_surface_in_the_same_order() {
        for last in [3, 40, 96, 97] {
            let mut heap = TimerHeap::default();
            let mut expected = Vec::new();
            for item in 0..1000_u32 {
                heap.push(f64::from(item * 7919 % 97), item).unwrap();
                expected.push((item * 7919 % 97, item));
            }
            expected.sort_unstable();
            let mut found = Vec::new();
            heap.drain_due(f64::from(last), &mut found).unwrap();
            assert!(heap.first().is_none_or(|first| first > f64::from(last)));
            found.extend(drain(&mut heap));
            let expected: Vec<_> = expected.into_iter().map(|(_, item)| item).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn nothing_surfaces_before_its_deadline() {
        let mut heap = TimerHeap::default();
        heap.push(2.0, 'b').unwrap();
        heap.push(1.0, 'a').unwrap();
        assert_eq!(heap.pop_due(0.5), None);
        assert_eq!(heap.pop_due(1.5), Some('a'));
        assert_eq!(heap.pop_due(1.5), None);
        assert_eq!(heap.first(), Some(2.0));
    }

    #[test]
    fn nan_is_due_at_once_and_infinity_never() {
        let mut heap = TimerHeap::default();
        heap.push(f64::INFINITY, 'i').unwrap();
        heap.push(f64::NAN, 'n').unwrap();
        assert_eq!(heap.pop_due(0.0), Some('n'));
        assert_eq!(heap.pop_due(f64::MAX), None);
    }

    #[test]
    fn the_entry_pushed_last_is_cancelled_on_the_spot() {
        let mut heap = TimerHeap::default();
        heap.push(1.0, 1).unwrap();
        heap.push(2.0, 2).unwrap();
        assert_eq!(heap.cancel(|item| *item == 2), Some(2));
        assert_eq!(heap.cancel(|item| *item == 7), None);
        assert_eq!(heap.len(), 1);
    }

    #[test]
    fn live_entries_are_counted_however_cancelled_ones_leave() {
        for count in [50, 500] {
            let mut heap = TimerHeap::default();
            for item in 0..count {
                heap.push(f64::from(item), item).unwrap();
            }
            let cancelled = usize::try_from(count / 2).unwrap();
            for _ in 0..cancelled {
                heap.cancel(|_| false);
            }
            assert_eq!(heap.live(), heap.len() - cancelled);
            // Of the items of a `Vec` all are cancelled.
            heap.drain_due(f64::from(count / 2 - 1), &mut Vec::new())
                .unwrap();
            assert_eq!((heap.live(), heap.len()), (cancelled, cancelled));
        }
    }

    #[test]
    fn compacting_keeps_the_order_of_what_is_left() {
        let mut heap = TimerHeap::default();
        for item in 0..500_u32 {
            heap.push(f64::from(item * 31 % 97), item).unwrap();
        }
        for _ in 0..300 {
            heap.cancel(|_| false);
        }
        assert!(heap.wants_compacting());
        let gone = heap.compact(|item| item % 5 < 3);
        assert_eq!(gone.len(), 300);
        let mut expected: Vec<_> = (0..500_u32)
            .filter(|item| item % 5 >= 3)
            .map(|item| (item * 31 % 97, item))
            .collect();
        expected.sort_unstable();
        let expected: Vec<_> = expected.into_iter().map(|(_, item)| item).collect();
        assert_eq!(drain(&mut heap), expected);
    }
}
