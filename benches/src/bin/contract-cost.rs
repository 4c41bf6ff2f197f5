//! `contract-cost`: the variants' names. `contract-cost NUMBER CALLS`: makes calls of one variant, to be counted by
//! callgrind.

use mesh_benches::VARIANTS;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|text| text.parse::<u64>().ok());
    match (number(0), number(1)) {
        (Some(variant), Some(calls)) => match VARIANTS.get(variant as usize) {
            Some((_, run)) => run(calls),
            None => eprintln!("there are {} variants", VARIANTS.len()),
        },
        _ => VARIANTS.iter().enumerate().for_each(|(number, (name, _))| println!("{number}\t{name}")),
    }
}
