//! `WriteQueue`: chunks that the kernel has not taken yet, in order.
//!
//! Loop thread only. The first chunk may be partly sent; `head` says how far, so no chunk is cut or
//! copied.

use std::collections::{TryReserveError, VecDeque};

/// Something that has bytes.
pub(crate) trait Chunk {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// A queue of chunks.
pub(crate) struct WriteQueue<C> {
    /// Allocates nothing while it is empty.
    chunks: VecDeque<C>,
    /// How many bytes of the first chunk are sent.
    head: usize,
    /// How many bytes are not sent.
    size: usize,
}

impl<C> Default for WriteQueue<C> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            head: 0,
            size: 0,
        }
    }
}

impl<C: Chunk> WriteQueue<C> {
    /// Makes room for `count` chunks.
    #[inline]
    pub(crate) fn make_room(&mut self, count: usize) -> Result<(), TryReserveError> {
        if self.chunks.capacity() - self.chunks.len() >= count {
            return Ok(());
        }
        self.chunks.try_reserve(count)
    }

    /// Adds `chunk`, which must not be empty and for which `make_room` has made room.
    #[inline]
    pub(crate) fn push(&mut self, chunk: C) {
        self.size += chunk.bytes().len();
        self.chunks.push_back(chunk);
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many chunks wait.
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// The bytes that wait, chunk by chunk.
    #[inline]
    pub(crate) fn unsent(&self) -> impl Iterator<Item = &[u8]> {
        let mut head = self.head;
        self.chunks
            .iter()
            .map(move |chunk| &chunk.bytes()[std::mem::take(&mut head)..])
    }

    /// The first chunk, and how many bytes of it are sent.
    #[inline]
    pub(crate) fn first(&self) -> Option<(&C, usize)> {
        Some((self.chunks.front()?, self.head))
    }

    /// Notes that `count` bytes were sent and hands every finished chunk to `finished`.
    #[inline]
    pub(crate) fn sent(&mut self, count: usize, mut finished: impl FnMut(C)) {
        self.size -= count;
        let mut count = count + self.head;
        self.head = 0;
        while let Some(first) = self.chunks.front() {
            let length = first.bytes().len();
            if count < length {
                self.head = count;
                return;
            }
            count -= length;
            if let Some(chunk) = self.chunks.pop_front() {
                finished(chunk);
            }
        }
    }

    /// The only chunk, taken out, if there is one and nothing of it was sent yet.
    #[inline]
    pub(crate) fn take_single(&mut self) -> Option<C> {
        if self.head > 0 || self.chunks.len() != 1 {
            return None;
        }
        self.size = 0;
        self.chunks.pop_front()
    }

    /// Copies everything that waits to the front of `space`, which is large enough, and returns how
    /// many bytes that are.
    #[inline]
    pub(crate) fn copy_to(&self, space: &mut [u8]) -> usize {
        let mut end = 0;
        for bytes in self.unsent() {
            space[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        }
        end
    }

    /// Notes that everything was sent, and returns how many chunks `take_first` has to take out.
    #[inline]
    pub(crate) fn all_sent(&mut self) -> usize {
        (self.head, self.size) = (0, 0);
        self.chunks.len()
    }

    /// Takes out the first chunk.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<C> {
        self.chunks.pop_front()
    }

    /// Puts the only chunk back, of which `head` bytes were sent.
    pub(crate) fn put_back(&mut self, chunk: C, head: usize) {
        self.head = head;
        self.size = chunk.bytes().len() - head;
        self.chunks.push_front(chunk);
    }

    /// Takes out the first chunk and puts `rest` in its place, if there is any.
    pub(crate) fn replace_first(&mut self, rest: Option<C>) -> Option<C> {
        let first = self.chunks.pop_front()?;
        self.size -= first.bytes().len() - self.head;
        self.head = 0;
        if let Some(rest) = rest {
            self.size += rest.bytes().len();
            self.chunks.push_front(rest);
        }
        Some(first)
    }

    /// Takes out everything, together with the queue's memory; the caller releases it.
    pub(crate) fn take(&mut self) -> VecDeque<C> {
        (self.head, self.size) = (0, 0);
        std::mem::take(&mut self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, WriteQueue};

    impl Chunk for &'static str {
        fn bytes(&self) -> &[u8] {
            self.as_bytes()
        }
    }

    fn unsent(queue: &WriteQueue<&'static str>) -> String {
        queue
            .unsent()
            .map(|bytes| std::str::from_utf8(bytes).unwrap())
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn what_waits_can_be_copied_together() {
        let mut queue = WriteQueue::default();
        queue.push("hello");
        queue.push("world");
        queue.sent(3, |_| ());
        let mut space = [0; 10];
        let count = queue.copy_to(&mut space);
        assert_eq!(&space[..count], b"loworld");
        assert_eq!((queue.all_sent(), queue.size()), (2, 0));
        assert_eq!(
            (queue.take_first(), queue.take_first()),
            (Some("hello"), Some("world"))
        );
    }

    #[test]
    fn a_partly_sent_chunk_goes_on_where_it_stopped() {
        let mut queue = WriteQueue::default();
        queue.push("hello");
        queue.push("world");
        let mut finished = Vec::new();
        queue.sent(3, |chunk| finished.push(chunk));
        assert_eq!((unsent(&queue).as_str(), queue.size()), ("lo|world", 7));
        queue.sent(4, |chunk| finished.push(chunk));
        assert_eq!((unsent(&queue).as_str(), queue.size()), ("rld", 3));
        queue.sent(3, |chunk| finished.push(chunk));
        assert!(queue.is_empty());
        assert_eq!(finished, ["hello", "world"]);
    }
}
