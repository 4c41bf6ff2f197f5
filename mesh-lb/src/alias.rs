//! Weighted choice in constant time.

/// Walker's alias method with Vose's construction, in integers (M. D. Vose, *A linear algorithm for generating random
/// numbers with a given distribution*, 1991). Eight bytes per entry; a choice reads one.
#[derive(Debug)]
pub(crate) struct Alias {
    cells: Box<[Cell]>,
}

/// A cell is drawn uniformly; `keep` of 2³² of it belong to itself and the rest to `other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    keep: u32,
    other: u32,
}

impl Alias {
    /// The table for these weights, of which at least one is not zero. Takes time and memory in proportion to them.
    pub(crate) fn new(weights: &[u32]) -> Self {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        // each cell holds `total`, so each entry brings its weight times the number of cells; exact in 64 bits
        let mut left: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) * count).collect();
        let mut cells: Vec<Cell> = (0..weights.len()).map(|own| Cell { keep: u32::MAX, other: own as u32 }).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len()).partition(|i| left[*i] < total);
        while let (Some(low), Some(high)) = (small.pop(), large.pop()) {
            let keep = (u128::from(left[low]) << 32) / u128::from(total.max(1));
            cells[low] = Cell { keep: keep as u32, other: high as u32 };
            left[high] -= total - left[low];
            if left[high] < total { small.push(high) } else { large.push(high) }
        }
        // the rest fill their cells exactly, since nothing was rounded on the way
        Self { cells: cells.into() }
    }

    /// `draw` as a fraction of 2⁶⁴, times the number of cells: the whole part is the cell, the rest chooses between
    /// its two entries. One multiplication, and draws that are spread evenly stay so.
    #[inline]
    pub(crate) fn choose(&self, draw: u64) -> usize {
        let product = u128::from(draw) * self.cells.len() as u128;
        let (own, side) = ((product >> 64) as usize, (product >> 32) as u32);
        let cell = self.cells[own];
        if side < cell.keep { own } else { cell.other as usize }
    }

    /// Two from one draw, each from a half of it: exact to the number of cells divided by 2³². They may be the same.
    #[inline]
    pub(crate) fn choose_two(&self, draw: u64) -> (usize, usize) {
        (self.choose_by_half((draw >> 32) as u32), self.choose_by_half(draw as u32))
    }

    #[inline]
    fn choose_by_half(&self, draw: u32) -> usize {
        let product = u64::from(draw) * self.cells.len() as u64;
        let (own, side) = ((product >> 32) as usize, product as u32);
        let cell = self.cells[own];
        if side < cell.keep { own } else { cell.other as usize }
    }

    /// How many of the 2³² sides of all cells belong to each entry.
    #[cfg(test)]
    pub(crate) fn mass(&self) -> Vec<u64> {
        let mut mass = vec![0; self.cells.len()];
        for (own, cell) in self.cells.iter().enumerate() {
            mass[own] += u64::from(cell.keep);
            mass[cell.other as usize] += (1 << 32) - u64::from(cell.keep);
        }
        mass
    }
}

/// One of `count`. The bias is at most `count`/2⁶⁴.
#[inline]
pub(crate) fn even(draw: u64, count: usize) -> usize {
    ((u128::from(draw) * count as u128) >> 64) as usize
}

/// Two different ones of `count`, of at least two, from one draw. The bias is at most `count`²/2⁶⁴.
#[inline]
pub(crate) fn even_two(draw: u64, count: usize) -> (usize, usize) {
    let product = u128::from(draw) * count as u128;
    // what the first one leaves of the draw is as even as the draw was
    let (first, rest) = ((product >> 64) as usize, product as u64);
    let among_others = even(rest, count - 1);
    (first, among_others + usize::from(among_others >= first))
}
