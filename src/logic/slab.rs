//! `Slab`: entries under generational keys, so that a stale key finds nothing.
//!
//! Loop thread only. A key is a `u64` (generation above, index below), because the kernel hands that
//! back with an event.

/// Names one entry for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key(pub(crate) u64);

impl Key {
    fn new(index: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(index))
    }

    #[allow(clippy::cast_possible_truncation, reason = "the low half is the index")]
    fn index(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

struct Slot<T> {
    /// Counts the entries that this slot has held.
    generation: u32,
    /// `None` while the slot is free.
    entry: Option<T>,
}

/// A growing table of entries.
pub(crate) struct Slab<T> {
    /// The table. A key holds the index of a slot and the generation of its entry.
    slots: Vec<Slot<T>>,
    /// Slots without an entry.
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Stores `entry`. `None` if memory is short, or 2^32 entries are stored already.
    pub(crate) fn insert(&mut self, entry: T) -> Option<Key> {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.entry = Some(entry);
            return Some(Key::new(index, slot.generation));
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.try_reserve(1).ok()?;
        // Every slot needs a place in `free`, so that taking an entry out never allocates.
        let missing = self.slots.len() + 1 - self.free.len();
        self.free.try_reserve(missing).ok()?;
        self.slots.push(Slot {
            generation: 0,
            entry: Some(entry),
        });
        Some(Key::new(index, 0))
    }

    /// The entry that `key` names, if it still lives.
    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index())?;
        if slot.generation == key.generation() {
            slot.entry.as_ref()
        } else {
            None
        }
    }

    /// The entry that `key` names, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation == key.generation() {
            slot.entry.as_mut()
        } else {
            None
        }
    }

    /// Takes the entry out; its key names nothing from now on.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an index was made from a u32"
    )]
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index() as u32);
        Some(entry)
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many entries there are at most.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_stale_key_finds_nothing_after_its_slot_was_used_again() {
        let mut slab = Slab::default();
        let first = slab.insert('a').unwrap();
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b').unwrap();
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
    }

    #[test]
    fn every_entry_is_seen_and_counted() {
        let mut slab = Slab::default();
        let key = slab.insert(1).unwrap();
        slab.insert(2).unwrap();
        assert_eq!(slab.iter().copied().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(slab.count(), 2);
        slab.remove(key);
        assert_eq!(slab.iter().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(slab.count(), 1);
    }
}
