//! A map whose keys are consecutive numbers: contexts and callouts of a host, requests.

/// Values by their numbers, sorted. Numbers mostly grow, so new ones are appended; a tree would cost a
/// kilobyte of code for each type of value.
pub(crate) struct Numbered<T>(Vec<(u64, T)>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered(Vec::new())
    }
}

impl<T> Numbered<T> {
    /// The value of this number.
    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        self.place(number).ok().and_then(|place| self.0.get(place)).map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.place(number).ok().and_then(|place| self.0.get_mut(place)).map(|(_, value)| value)
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.0.iter().map(|(number, value)| (*number, value))
    }

    /// Sets the value of a number.
    pub(crate) fn insert(&mut self, number: u64, value: T) {
        match self.place(number) {
            Ok(place) => {
                if let Some(entry) = self.0.get_mut(place) {
                    entry.1 = value;
                }
            }
            Err(place) => self.0.insert(place, (number, value)),
        }
    }

    /// Removes the value of this number.
    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        self.place(number).ok().map(|place| self.0.remove(place).1)
    }

    fn place(&self, number: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_number_in_any_order() {
        let mut values = Numbered::default();
        for number in [5, 1, 9, 7, 3, 9] {
            values.insert(number, number * 10);
        }
        assert_eq!((values.get(7), values.get(2)), (Some(&70), None));
        assert_eq!((values.remove(9), values.remove(9), values.get(9)), (Some(90), None, None));
        values.insert(1, 11);
        assert_eq!((values.get(1), values.get(3), values.get(5)), (Some(&11), Some(&30), Some(&50)));
    }
}
