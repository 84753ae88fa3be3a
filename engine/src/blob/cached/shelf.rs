//! Which copies there are and which one goes next. No file is touched here.

use std::collections::{BTreeMap, HashMap};

/// One copy in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Name of the file.
    pub file: String,
    /// Length of what stands before the body in the file. Unit: bytes.
    pub head_bytes: u64,
    /// Length of the object. Unit: bytes.
    pub body_bytes: u64,
    /// CRC-32 of the object.
    pub crc: u32,
    /// Whether this process has seen that the file's content is whole.
    pub checked: bool,
    /// When the file was last marked as used. Unit: ms since 1970.
    pub marked_ms: u64,
}

impl Copy {
    /// What the file takes of the budget. Unit: bytes.
    pub fn file_bytes(&self) -> u64 {
        self.head_bytes + self.body_bytes
    }
}

/// The copies within a budget, the one used last at the end. Room is reserved before a file is written, so that the
/// files never take more than the budget.
#[derive(Debug)]
pub(super) struct Shelf {
    budget_bytes: u64,
    /// Files and reservations. Unit: bytes.
    used_bytes: u64,
    /// Of these, what no file has yet. Unit: bytes.
    reserved_bytes: u64,
    copies: HashMap<String, (u64, Copy)>,
    order: BTreeMap<u64, String>,
    next: u64,
}

impl Shelf {
    pub fn new(budget_bytes: u64) -> Self {
        Self {
            budget_bytes,
            used_bytes: 0,
            reserved_bytes: 0,
            copies: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// Unit: bytes, with reservations.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub fn len(&self) -> usize {
        self.copies.len()
    }

    pub fn contains(&self, key: &str) -> bool {
        self.copies.contains_key(key)
    }

    /// The copy of `key`, which becomes the one used last.
    pub fn touch(&mut self, key: &str) -> Option<&mut Copy> {
        let (turn, copy) = self.copies.get_mut(key)?;
        if let Some(key) = self.order.remove(turn) {
            *turn = self.next;
            self.next += 1;
            self.order.insert(*turn, key);
        }
        Some(copy)
    }

    /// Reserves room. The copies used longest ago make way; their files have to be removed. `None` if there will not
    /// be as much room; then nothing changes.
    pub fn reserve(&mut self, bytes: u64) -> Option<Vec<String>> {
        if self.reserved_bytes.checked_add(bytes)? > self.budget_bytes {
            return None;
        }
        let mut gone = Vec::new();
        while self.used_bytes + bytes > self.budget_bytes
            && let Some((_, key)) = self.order.pop_first()
        {
            gone.extend(self.take(&key));
        }
        self.used_bytes += bytes;
        self.reserved_bytes += bytes;
        Some(gone)
    }

    /// Gives a reservation back.
    pub fn give_back(&mut self, bytes: u64) {
        self.used_bytes -= bytes;
        self.reserved_bytes -= bytes;
    }

    /// Puts a copy for which there is a reservation as the one used last. The file that it replaces has to be removed.
    pub fn put(&mut self, key: &str, copy: Copy) -> Option<String> {
        self.reserved_bytes -= copy.file_bytes();
        let replaced = self.take(key);
        self.order.insert(self.next, key.to_owned());
        self.copies.insert(key.to_owned(), (self.next, copy));
        self.next += 1;
        replaced
    }

    /// Takes the copy of `key` off; its file has to be removed.
    pub fn take(&mut self, key: &str) -> Option<String> {
        let (turn, copy) = self.copies.remove(key)?;
        self.order.remove(&turn);
        self.used_bytes -= copy.file_bytes();
        Some(copy.file)
    }

    /// Takes the copy of `key` off if it still is this file.
    pub fn take_file(&mut self, key: &str, file: &str) -> Option<String> {
        self.copies.get(key).filter(|(_, copy)| copy.file == file)?;
        self.take(key)
    }

    /// Keys from the one used longest ago to the one used last.
    #[cfg(test)]
    pub fn keys(&self) -> Vec<String> {
        self.order.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(file: &str, bytes: u64) -> Copy {
        let file = file.to_owned();
        Copy { file, head_bytes: 0, body_bytes: bytes, crc: 0, checked: true, marked_ms: 0 }
    }

    #[test]
    fn the_copy_used_longest_ago_makes_way() {
        let mut shelf = Shelf::new(10);
        for key in ["a", "b", "c"] {
            assert_eq!(shelf.reserve(3), Some(Vec::new()));
            shelf.put(key, copy(key, 3));
        }
        shelf.touch("a").unwrap();

        let gone = shelf.reserve(4).unwrap();

        assert_eq!(gone, ["b"]);
        assert_eq!(shelf.keys(), ["c", "a"]);
        assert_eq!(shelf.used_bytes(), 10);
    }

    #[test]
    fn what_cannot_fit_moves_nothing() {
        let mut shelf = Shelf::new(10);
        shelf.reserve(6).unwrap();
        shelf.put("a", copy("a", 6));

        assert_eq!(shelf.reserve(11), None);
        assert_eq!(shelf.reserve(u64::MAX), None);
        assert_eq!(shelf.reserve(4), Some(Vec::new()));
        // Of the ten, four are being written and cannot be evicted.
        assert_eq!(shelf.reserve(7), None);

        assert_eq!(shelf.keys(), ["a"]);
    }
}
