//! One of several clusters, by their weights.

/// Clusters with the sums of the weights up to and with each.
#[derive(Debug)]
pub(super) struct Split<T> {
    parts: Vec<(u64, T)>,
}

impl<T> Split<T> {
    /// Those whose weight is 0 get nothing. `None`: nothing is left.
    pub(super) fn new(parts: impl IntoIterator<Item = (T, u32)>) -> Option<Self> {
        let mut sum = 0;
        let parts = parts.into_iter().filter(|(_, weight)| *weight > 0);
        let parts: Vec<(u64, T)> = parts
            .map(|(part, weight)| {
                sum += u64::from(weight);
                (sum, part)
            })
            .collect();
        (!parts.is_empty()).then_some(Self { parts })
    }

    /// The part that 64 random bits fall into.
    pub(super) fn pick(&self, draw: u64) -> &T {
        let total = self.parts[self.parts.len() - 1].0;
        // exact to 2^-64 of the whole, without a division
        let point = ((u128::from(draw) * u128::from(total)) >> 64) as u64;
        let index = self.parts.partition_point(|(sum, _)| *sum <= point);
        &self.parts[index].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_large_as_their_weights() {
        let split = Split::new([("none", 0), ("a", 95), ("b", 5), ("nothing", 0)]).expect("two");
        assert_eq!((*split.pick(0), *split.pick(1), *split.pick(u64::MAX)), ("a", "a", "b"));
        let draws = 100_000_u64;
        let step = u64::MAX / draws;
        let of_b = (0..draws).filter(|draw| *split.pick(draw * step + step / 2) == "b").count();
        assert_eq!(of_b, 5_000);
        assert!(Split::new([("a", 0)]).is_none());
    }
}
